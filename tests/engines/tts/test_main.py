"""The command that says a text into a file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from appliance.engines.tts.__main__ import main
from tests.recognizer import word_error_rate, words


def test_a_text_becomes_a_wav_file(weights: Path, tmp_path: Path) -> None:
    wav = tmp_path / "out.wav"
    environ = {"VOICE_PATHS_WEIGHTS": str(weights)}
    assert main(["The garden is open today.", str(wav), "--voice", "bm_george"], environ) == 0
    with wave.open(str(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24000)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert word_error_rate("the garden is open today", words(pcm, 24000)) <= 0.2


def test_an_unknown_voice_is_an_exit_code_and_advice(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"VOICE_PATHS_WEIGHTS": str(weights)}
    assert main(["Hello.", str(tmp_path / "out.wav"), "--voice", "zz"], environ) == 78
    assert "af_heart" in capsys.readouterr().err
