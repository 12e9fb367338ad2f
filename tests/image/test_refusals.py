"""The container refuses to start, logs the reason, and its exit code gives the kind of reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.settings import LLMConfig
from tests.conftest import FAST_MODEL
from tests.host.hosts import damage
from tests.image.sealed import Built, Network, SealedContainer

WEIGHTS = "/opt/voice/weights"
Container = Callable[..., SealedContainer]


@pytest.fixture
def container(built: Built, network: Network, tmp_path: Path) -> Iterator[Container]:
    """Start a container of the image with more options for podman."""
    containers: list[SealedContainer] = []

    def start(*options: str, image: str = "") -> SealedContainer:
        containers.append(SealedContainer(built, network, tmp_path, options, image=image))
        return containers[-1].start()

    yield start
    for sealed in containers:
        sealed.remove()


def reason(sealed: SealedContainer) -> str:
    """The reason in the last log line of a container that ended."""
    assert "appliance started" not in [line["event"] for line in sealed.lines()]
    return str(sealed.lines()[-1]["what"])


@pytest.fixture
def voice(built: Built, tmp_path: Path) -> Path:
    """A copy of a small sealed file."""
    path = next((built.out / "context").glob("weights-*/kokoro-82m/voices/af_heart.bin"))
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    return copy


def test_image_with_a_changed_bit_does_not_start(
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
        assert "kokoro-82m/voices/af_heart.bin was changed" in reason(changed)
    finally:
        built.host.must("buildah", "rm", working)
        built.host.run("podman", "rmi", "--force", tag)


def test_unlisted_file_is_named(container: Container, voice: Path) -> None:
    added = container(f"--volume={voice}:{WEIGHTS}/kokoro-82m/extra.bin:ro")
    assert added.ended() == 79
    assert "kokoro-82m/extra.bin is not listed" in reason(added)


def test_pickle_is_named(container: Container, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x80\x04.")
    pickled = container(f"--volume={tmp_path / 'x'}:{WEIGHTS}/kokoro-82m/model.pt:ro")
    assert pickled.ended() == 79
    assert "kokoro-82m/model.pt" in reason(pickled)
    assert "pickle" in reason(pickled)


def test_unknown_setting_is_refused(container: Container) -> None:
    misspelt = container("--env=VOICE_GATEWAY_PRT=1")
    assert misspelt.ended() == 78
    assert "VOICE_GATEWAY_PORT" in reason(misspelt)


def test_model_that_is_not_in_the_image_is_refused_with_the_one_that_is(
    container: Container,
) -> None:
    other = container(f"--env=VOICE_LLM_MODEL={FAST_MODEL}")
    assert other.ended() == 78
    assert f"{FAST_MODEL!r} is not here; installed: {LLMConfig().model}" in reason(other)
    assert "build an image" in other.lines()[-1]["advice"]


def test_missing_token_file_is_refused(container: Container) -> None:
    without_token = container("--env=VOICE_GATEWAY_TOKEN_FILE=/run/secrets/none")
    assert without_token.ended() == 78
    assert "token" in str(without_token.lines()[-1]["what"])
