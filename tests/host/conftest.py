"""Fixtures of the tests of the commands of a host, whose images are tiny and run no model."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import hosts, running
from tests.host.hosts import OPS, Host
from tests.host.running import ONE, OperatedHost


@dataclasses.dataclass(frozen=True)
class Connected:
    """The connected side with tiny images: 1, 2 (a changed line of code), 3 (other weights)."""

    host: Host
    lock_one: Path
    lock_two: Path
    lock_three: Path

    @property
    def id_one(self) -> str:
        return hosts.image_id(self.lock_one)

    @property
    def id_two(self) -> str:
        return hosts.image_id(self.lock_two)

    def export(self, *options: str | Path) -> subprocess.CompletedProcess[str]:
        """Run ops/export with common options, without what would need a network."""
        common = (
            "--out",
            self.host.folder / "releases",
            "--without-sbom",
            "--without-client",
            "--part-size",
            "2000000",
        )
        return self.host.run(OPS / "export", *common, *options)

    @property
    def full(self) -> Path:
        return self.host.folder / "releases/voice-appliance-1-cpu"

    @property
    def delta(self) -> Path:
        return self.host.folder / "releases/voice-appliance-2-cpu-since-1"


@pytest.fixture(scope="session")
def tools() -> None:
    """Skip, or in CI fail, where the tests cannot run."""
    missing = hosts.missing_tools()
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        reason = f"THE IMAGE IS NOT TESTED: {', '.join(missing).upper()} MISSING ON THIS MACHINE"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def connected(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    with hosts.host(tmp_path_factory.mktemp("connected")) as host:
        weights, others = (random.Random(seed).randbytes(hosts.WEIGHTS_BYTES) for seed in (1, 2))
        images = Connected(
            host,
            hosts.build(host, "1", "print(1)\n", weights),
            hosts.build(host, "2", "print(2)\n", weights),
            hosts.build(host, "3", "print(1)\n", others),
        )
        for options in (
            ("--lock", images.lock_one),
            ("--lock", images.lock_two, "--since", images.lock_one),
        ):
            done = images.export(*options)
            assert done.returncode == 0, done.stdout + done.stderr
        yield images


@pytest.fixture
def carried(connected: Connected, tmp_path: Path) -> Path:
    """A copy of the full release of image 1, in three parts."""
    return Path(shutil.copytree(connected.full, tmp_path / "medium/release"))


@pytest.fixture
def offline(tools: None, tmp_path: Path) -> Iterator[Host]:
    """Another host, whose podman has no images."""
    with hosts.host(tmp_path / "offline") as host:
        yield host


@pytest.fixture
def small_disk_host(tools: None, tmp_path: Path) -> Iterator[Host]:
    """Another host, whose podman has a disk of 12 MB."""
    with hosts.host(tmp_path / "small") as host:
        host.images.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", host.images], check=True)
        yield host


@pytest.fixture(scope="module")
def supplied(
    tools: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A host that has the RELEASES of the test module."""
    with hosts.host(tmp_path_factory.mktemp("site")) as host:
        running.build(host, *request.module.RELEASES)
        yield host


@pytest.fixture
def site(supplied: Host) -> Iterator[OperatedHost]:
    """That host, with no release activated."""
    with running.fresh(OperatedHost(supplied)) as made:
        yield made


@pytest.fixture
def serving(site: OperatedHost) -> OperatedHost:
    """That host, with release 0.1.0 current and taking calls."""
    site.tag(ONE, "current")
    site.must("start")
    return site
