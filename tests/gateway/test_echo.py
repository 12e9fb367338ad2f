"""The bot's own voice in the microphone is told from a caller, by signals made here."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from appliance.gateway.echo import ACTIVE_SECONDS, EchoDetector
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE

WINDOW = 512
LEAD_SECONDS = 0.3  # audio is sent this long before its playback
CHUNK = OUTPUT_SAMPLE_RATE // 25


def voice(seconds: float, seed: int) -> np.ndarray:
    """Return 24 kHz samples that change like speech: harmonics through moving filters."""
    chance = np.random.default_rng(seed)
    total: list[np.ndarray] = []
    while sum(len(part) for part in total) < seconds * OUTPUT_SAMPLE_RATE:
        size = int(chance.uniform(0.06, 0.2) * OUTPUT_SAMPLE_RATE)
        time = np.arange(size) / OUTPUT_SAMPLE_RATE
        pitch, loud = chance.uniform(90, 220), 10 ** chance.uniform(-1.5, 0)
        formants = chance.uniform(300, 3200, 3)
        syllable = np.zeros(size)
        for harmonic in np.arange(pitch, 3500, pitch):
            gain = np.exp(-(((harmonic - formants) / 200) ** 2)).sum() + 0.01
            syllable += gain * np.sin(2 * np.pi * harmonic * time)
        total += [loud * syllable * np.hanning(size), np.zeros(int(chance.uniform(0, 1500)))]
    samples = np.concatenate(total)[: int(seconds * OUTPUT_SAMPLE_RATE)]
    return np.asarray(0.1 * samples / np.sqrt(np.mean(samples**2)))


def pcm(samples: np.ndarray) -> bytes:
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def echoes(
    sent: np.ndarray, caller: np.ndarray, delay_seconds: float, level_db: float
) -> list[bool]:
    """Return for each window of the microphone whether it was taken for an echo."""
    detector = EchoDetector()
    chunks = [
        (10 + n / OUTPUT_SAMPLE_RATE, sent[n : n + CHUNK]) for n in range(0, len(sent), CHUNK)
    ]
    echo = np.concatenate([np.zeros(round(delay_seconds * OUTPUT_SAMPLE_RATE)), sent])
    echo = echo[: len(caller)] * 10 ** (level_db / 20)
    microphone = soxr.resample(echo + caller, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)
    microphone += np.random.default_rng(7).normal(0, 1e-4, len(microphone))
    found = []
    for start in range(0, len(microphone) - WINDOW + 1, WINDOW):
        now = 10 + (start + WINDOW) / INPUT_SAMPLE_RATE
        while chunks and chunks[0][0] < now + LEAD_SECONDS:
            plays_at, chunk = chunks.pop(0)
            detector.sent(pcm(chunk), plays_at)
        found.append(detector.is_echo(pcm(microphone[start : start + WINDOW]), now))
    return found


@pytest.mark.parametrize("level_db", [0, -12, -24])
@pytest.mark.parametrize("delay_seconds", [0.05, 0.31, 0.9])
def test_bot_s_own_voice_is_an_echo(delay_seconds: float, level_db: float) -> None:
    sent = voice(3.0, seed=1)
    found = echoes(sent, np.zeros(len(sent)), delay_seconds, level_db)
    after = round((delay_seconds + 1.2) / 0.032)
    assert np.mean(found[after:]) > 0.97


def test_other_voice_is_not_an_echo() -> None:
    sent, caller = voice(3.0, seed=1), voice(3.0, seed=2)
    found = echoes(sent, caller, 0.2, level_db=-200)
    assert np.mean(found) < 0.1


def test_caller_is_heard_over_an_echo_at_20_db_below() -> None:
    sent, caller = voice(5.0, seed=1), voice(5.0, seed=2)
    caller[: 3 * OUTPUT_SAMPLE_RATE] = 0
    found = echoes(sent, caller, 0.2, level_db=-20)
    level = np.abs(caller[: len(found) * 768]).reshape(len(found), -1).max(axis=1)
    loud = np.flatnonzero(level > 0.1)
    assert np.mean([found[x] for x in loud if x > 3.3 / 0.032]) < 0.2
    assert np.mean(found[50:90]) > 0.97, "before the caller speaks"


def test_nothing_is_an_echo_when_the_bot_has_been_silent() -> None:
    detector = EchoDetector()
    assert not detector.active(0.0)
    detector.sent(pcm(voice(0.5, seed=1)), 1.0)
    assert detector.active(1.5 + ACTIVE_SECONDS - 0.01)
    assert not detector.active(1.5 + ACTIVE_SECONDS + 0.01)
    assert not detector.is_echo(bytes(2 * WINDOW), 1.5 + ACTIVE_SECONDS + 0.01)
