from __future__ import annotations

import wave
from pathlib import Path

import pytest

from appliance.engines.llm.__main__ import converse, read_wav
from appliance.settings import Settings
from tests.engines.llm.conftest import Say


def write_wav(path: Path, pcm: bytes, rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return path


async def test_spoken_and_typed_turns_are_answered_on_the_terminal(
    settings: Settings, say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_wav(tmp_path / "q.wav", say("What is the capital of France?"))
    await converse(settings, [str(path), "Say hello."])
    out = capsys.readouterr().out
    assert "user (heard): What is the capital of France?" in out
    assert "Paris" in out
    assert "user (typed): Say hello." in out
    assert "first_token_seconds" in out


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2), (22_050, 1)])
def test_wav_files_of_any_rate_are_read(tmp_path: Path, rate: int, channels: int) -> None:
    path = write_wav(tmp_path / "x.wav", bytes(2 * rate * channels), rate, channels)
    assert len(read_wav(path)) == pytest.approx(32_000, abs=8)
