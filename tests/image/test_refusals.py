"""The container refuses to start, says why, and its exit code tells the host what kind of why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.hosts import damage
from tests.image.sealed import Built, Network, Sealed

WEIGHTS = "/opt/voice/weights"
Container = Callable[..., Sealed]


@pytest.fixture
def container(built: Built, network: Network, tmp_path: Path) -> Iterator[Container]:
    """Starts a container of the image with further options of podman."""
    started: list[Sealed] = []

    def start(*options: str, image: str = "") -> Sealed:
        started.append(Sealed(built, network, tmp_path, options, image=image))
        return started[-1].start()

    yield start
    for sealed in started:
        sealed.remove()


def why(sealed: Sealed) -> str:
    """The reason a container that ended gives in its log."""
    assert "appliance started" not in [line["event"] for line in sealed.lines()]
    return str(sealed.lines()[-1]["what"])


@pytest.fixture
def voice(built: Built, tmp_path: Path) -> Path:
    """One of the sealed files, small enough to play with."""
    path = next((built.out / "context").glob("weights-*/kokoro-82m/voices/af_heart.bin"))
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    return copy


def test_an_image_with_one_changed_bit_does_not_start(
    container: Container, built: Built, voice: Path
) -> None:
    damage(voice)
    working = built.host.must("buildah", "from", "--pull-never", built.tag)
    tag = "localhost/voice-appliance:changed"
    try:
        built.host.must("buildah", "copy", working, voice, f"{WEIGHTS}/kokoro-82m/voices/")
        built.host.must("buildah", "commit", "--quiet", working, tag)
        changed = container(image=tag)
        assert changed.ended() == 79
        assert "kokoro-82m/voices/af_heart.bin was changed" in why(changed)
    finally:
        built.host.must("buildah", "rm", working)
        built.host.run("podman", "rmi", "--force", tag)


def test_a_file_that_nobody_sealed_is_named(container: Container, voice: Path) -> None:
    added = container(f"--volume={voice}:{WEIGHTS}/kokoro-82m/extra.bin:ro")
    assert added.ended() == 79
    assert "kokoro-82m/extra.bin is not listed" in why(added)


def test_a_pickle_is_named(container: Container, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x80\x04.")
    pickled = container(f"--volume={tmp_path / 'x'}:{WEIGHTS}/kokoro-82m/model.pt:ro")
    assert pickled.ended() == 79
    assert "kokoro-82m/model.pt" in why(pickled)
    assert "pickle" in why(pickled)


def test_a_setting_that_does_not_exist_is_refused(container: Container) -> None:
    misspelt = container("--env=VOICE_GATEWAY_PRT=1")
    assert misspelt.ended() == 78
    assert "VOICE_GATEWAY_PORT" in why(misspelt)


def test_without_a_token_nobody_is_let_in(container: Container) -> None:
    open_door = container("--env=VOICE_GATEWAY_TOKEN_FILE=/run/secrets/none")
    assert open_door.ended() == 78
    assert "token" in str(open_door.lines()[-1]["what"])
