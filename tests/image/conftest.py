"""Fixtures of the tests of the real image and its delivery."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.conftest import tools
from tests.host.hosts import OPS
from tests.image import sealed
from tests.image.sealed import Built, Network

__all__ = ["tools"]

NEXT = "0.1.1"  # the version of `next_version`
CARRY_SECONDS = 1200  # limit for an export or import of the real image on a busy machine


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the image is built from, which nobody edits while the tests run."""
    return sealed.repository(tmp_path_factory.mktemp("sources") / "repository")


@pytest.fixture(scope="session")
def built(tools: None, sources: Path) -> Iterator[Built]:
    """The real cpu image, built by ops/image from the current files."""
    with sealed.store(sealed.STORE) as host:
        yield sealed.build_once(host, sealed.STORE / "out/cpu", sources)


@pytest.fixture(scope="session")
def next_version(
    built: Built, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    """The image of the next version, in the same store. Only the version's lines differ."""
    made = sealed.build_next(built, sources, tmp_path_factory.mktemp("next"), NEXT)
    yield made
    built.host.must("podman", "rmi", "--force", made.tag)


@dataclasses.dataclass(frozen=True)
class Delivered:
    """The real image, imported on another host, and its release folder."""

    image: Built
    release: Path

    def take_in(self, release: Path) -> str:
        """Run the import script of a release on this host and return its output."""
        signers = self.release / "allowed_signers.example"
        command = (release / "import", "--signers", signers)
        done = self.image.host.run_within(CARRY_SECONDS, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def export(built: Built, into: Path, *options: str | Path) -> Path:
    """Export an image with SBOMs, in parts of 300 MB; return the release folder."""
    command = (OPS / "export", "--lock", built.lock_path, "--out", into, "--part-size", "300M")
    existing = set(into.glob("voice-*"))
    done = built.host.run_within(
        CARRY_SECONDS,
        *command,
        *options,
        HOME=os.environ.get(
            "HOME", "/root"
        ),  # settings of pip, which collects the client's packages
        XDG_CONFIG_HOME=str(built.out.parent / "keys"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (release,) = (path for path in into.glob("voice-*") if path not in existing)
    return release


@pytest.fixture(scope="session")
def delivered(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    """The real image, exported, and imported on an empty host."""
    folder = tmp_path_factory.mktemp("delivered")
    release = export(built, folder / "releases")
    medium = Path(shutil.move(release, folder / "medium"))
    with sealed.store(folder / "offline") as host:
        tag = f"localhost/voice-appliance:{built.lock['image']['version']}-cpu"
        delivered = Delivered(dataclasses.replace(built, host=host, tag=tag), medium)
        delivered.take_in(medium)
        yield delivered
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def network(tools: None) -> Iterator[Network]:
    """A host without any route but to the caller's machine."""
    with sealed.network() as made:
        yield made
