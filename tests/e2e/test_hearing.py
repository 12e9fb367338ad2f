"""What the whole appliance takes for words: short answers are, tones and noise are not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from client.wav import read_wav, to_pcm, write_wav
from tests.e2e.appliance import QUESTIONS, Appliance

RATE = 16_000
DTMF_HERTZ = ((697, 1209), (770, 1336), (852, 1477), (941, 1336))  # 1, 5, 9, 0
PAUSE = np.zeros(RATE)


def sine(hertz: float, seconds: float) -> np.ndarray:
    return 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def sounds_without_words() -> np.ndarray:
    """Return 20 s of silence, noise, hum, a tone, keys of a telephone, and a ringing tone."""
    keys = [np.concatenate([sine(a, 0.2) + sine(b, 0.2), PAUSE[:3_200]]) for a, b in DTMF_HERTZ]
    ringing = [np.concatenate([sine(425, 1.0), PAUSE]) for _ in range(2)]
    noise = np.random.default_rng(1).normal(0, 0.003, 3 * RATE)
    parts = [np.zeros(3 * RATE), noise, sine(50, 2.0), sine(440, 2.0), *keys, *ringing]
    return np.concatenate([part for sound in parts for part in (sound, PAUSE[:8_000])])


@pytest.mark.parametrize("word", ["No.", "Stop.", "Two.", "What?"])
def test_one_word_is_heard_and_answered(appliance: Appliance, tmp_path: Path, word: str) -> None:
    """The recognizers hear the same word however much silence is around it (0 to 0.8 s)."""
    path = tmp_path / "word.wav"
    subprocess.run(["espeak-ng", "-v", "en-us+m7", "-w", str(path), word], check=True)
    said = appliance.say(path)
    assert said.exit_code == 0, said.stderr
    assert (said[0]["outcome"], said[0]["user_text"]) == ("answered", word)


def test_sounds_without_words_are_neither_answered_nor_shown(
    appliance: Appliance, tmp_path: Path
) -> None:
    question = np.frombuffer(read_wav(QUESTIONS[0]), "<i2") / 32768
    samples = np.concatenate([sounds_without_words(), PAUSE, question]).astype(np.float32)
    path = tmp_path / "sounds.wav"
    write_wav(path, to_pcm(samples), RATE)
    before = len(appliance.lines())
    said = appliance.say(path)
    assert said.exit_code == 0, said.stderr
    lines = [line for line in appliance.lines()[before:] if line["event"] == "turn"]
    outcomes = [line["outcome"] for line in lines if line["outcome"] != "nothing_heard"]
    assert outcomes == ["answered"], "only the question"
    assert "france" in said[0]["user_text"].lower()
    assert len(said[0]["user_text"].split()) <= 8
