"""What the tests of the image and its delivery share; made once, from nothing."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import hosts, running, sealed
from tests.image.hosts import OPS, Host
from tests.image.running import ONE, OperatedHost
from tests.image.sealed import Built, Network

CARRY_SECONDS = 1200  # for an export or import of the real image on a busy machine


@dataclasses.dataclass(frozen=True)
class Connected:
    """The connected side: tiny images 1, 2 (another line of code), 3 (other weights)."""

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
        """ops/export with what all tests want; no SBOM, which would need a network."""
        common = (
            "--out",
            self.host.folder / "releases",
            "--without-sbom",
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
    """Fails, or outside CI skips, where the tests cannot be run at all."""
    missing = hosts.missing_tools()
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        reason = f"THE IMAGE IS NOT TESTED: NO {', '.join(missing).upper()} ON THIS MACHINE"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def connected(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    with hosts.host(tmp_path_factory.mktemp("connected")) as host:
        weights, others = (random.Random(seed).randbytes(hosts.WEIGHTS_BYTES) for seed in (1, 2))
        made = Connected(
            host,
            hosts.build(host, "1", "print(1)\n", weights),
            hosts.build(host, "2", "print(2)\n", weights),
            hosts.build(host, "3", "print(1)\n", others),
        )
        for options in (
            ("--lock", made.lock_one),
            ("--lock", made.lock_two, "--since", made.lock_one),
        ):
            done = made.export(*options)
            assert done.returncode == 0, done.stdout + done.stderr
        yield made


@pytest.fixture
def carried(connected: Connected, tmp_path: Path) -> Path:
    """A copy of the full release of image 1, in three parts."""
    return Path(shutil.copytree(connected.full, tmp_path / "medium/release"))


@pytest.fixture
def offline(tools: None, tmp_path: Path) -> Iterator[Host]:
    """Another host, whose podman has no image."""
    with hosts.host(tmp_path / "offline") as host:
        yield host


@pytest.fixture
def small_disk_host(tools: None, tmp_path: Path) -> Iterator[Host]:
    """Another host, whose podman keeps its images on a disk of 12 MB."""
    with hosts.host(tmp_path / "small") as host:
        host.images.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", host.images], check=True)
        yield host


@pytest.fixture(scope="module")
def supplied(
    tools: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A host to which the RELEASES of the test module were carried."""
    with hosts.host(tmp_path_factory.mktemp("site")) as host:
        running.build(host, *request.module.RELEASES)
        yield host


@pytest.fixture
def site(supplied: Host) -> Iterator[OperatedHost]:
    """That host, with no release activated yet."""
    with running.fresh(OperatedHost(supplied)) as made:
        yield made


@pytest.fixture
def serving(site: OperatedHost) -> OperatedHost:
    """Release 0.1.0 is current and takes calls."""
    site.tag(ONE, "current")
    site.must("start")
    return site


@pytest.fixture(scope="session")
def built(tools: None) -> Iterator[Built]:
    """The real cpu image, as ops/image builds it from the files as they are now."""
    with sealed.store(sealed.STORE) as host:
        yield sealed.build(host, sealed.STORE / "out/cpu")


@dataclasses.dataclass(frozen=True)
class Delivered:
    """The real image on a host that it was carried to, and the release folder it came in."""

    image: Built
    release: Path

    def take_in(self, release: Path) -> str:
        """What the release's own import says of it on this host."""
        signers = self.release / "allowed_signers.example"
        done = self.image.host.run(
            release / "import", "--signers", signers, timeout_seconds=CARRY_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def export(built: Built, into: Path, *options: str | Path) -> Path:
    """The release folder that ops/export makes of it, SBOMs and all, in parts of 300 MB."""
    command = (OPS / "export", "--lock", built.lock_path, "--out", into, "--part-size", "300M")
    there = set(into.glob("voice-*"))
    done = built.host.run(
        *command,
        *options,
        timeout_seconds=CARRY_SECONDS,
        HOME=os.environ.get("HOME", "/root"),  # pip's settings, for syft
        XDG_CONFIG_HOME=str(built.out.parent / "keys"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (release,) = (path for path in into.glob("voice-*") if path not in there)
    return release


@pytest.fixture(scope="session")
def delivered(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    """The real image, exported, carried to a host that had nothing, and imported there."""
    folder = tmp_path_factory.mktemp("delivered")
    release = export(built, folder / "releases")
    medium = Path(shutil.copytree(release, folder / "medium"))
    with sealed.store(folder / "offline") as host:
        tag = f"localhost/voice-appliance:{built.lock['image']['version']}-cpu"
        arrived = Delivered(dataclasses.replace(built, host=host, tag=tag), medium)
        arrived.take_in(medium)
        yield arrived
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def network(tools: None) -> Iterator[Network]:
    """A host without a route to anywhere, and a caller's machine on its cable."""
    with sealed.network() as made:
        yield made
