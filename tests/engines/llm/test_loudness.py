"""Detection of speech and pauses by loudness."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.loudness import Samples, find_cut, find_speech
from appliance.link.engine import INPUT_SAMPLE_RATE

RANDOM = np.random.default_rng(0)


def syllables(seconds: float, level: float = 0.1) -> Samples:
    """Return noise with a level that rises and falls four times a second, as in speech."""
    time = np.arange(int(seconds * INPUT_SAMPLE_RATE)) / INPUT_SAMPLE_RATE
    return (steady(seconds, level) * (1.2 + np.sin(2 * np.pi * 4 * time))).astype(np.float32)


def steady(seconds: float, level: float = 0.1) -> Samples:
    return (RANDOM.normal(size=int(seconds * INPUT_SAMPLE_RATE)) * level).astype(np.float32)


def join(*parts: Samples) -> Samples:
    return np.concatenate(parts)


def test_silence_around_speech_is_trimmed_to_a_margin() -> None:
    audio = join(syllables(1.0, 0.0001), syllables(2.0), syllables(1.5, 0.0001))
    span = find_speech(audio)
    assert span is not None
    assert span[0] / INPUT_SAMPLE_RATE == pytest.approx(0.8, abs=0.03)
    assert span[1] / INPUT_SAMPLE_RATE == pytest.approx(3.2, abs=0.03)


@pytest.mark.parametrize(
    "audio",
    [np.zeros(0, np.float32), syllables(2, 0.0005), join(syllables(1, 0), syllables(0.06))],
)
def test_silence_and_clicks_contain_no_speech(audio: Samples) -> None:
    assert find_speech(audio) is None


@pytest.mark.parametrize("level", [0.01, 0.3])
def test_steady_noise_contains_no_speech(level: float) -> None:
    assert find_speech(join(steady(0.5, 0.0001), steady(2, level))) is None


def test_noise_after_louder_words_contains_no_speech() -> None:
    noise = syllables(1.0, 0.003)
    assert find_speech(noise) is not None
    assert find_speech(noise, loudest=0.3) is None


def test_short_utterance_is_not_split() -> None:
    assert find_cut(join(syllables(2), syllables(0.5, 0), syllables(2))) is None


def test_long_utterance_is_split_at_its_pause() -> None:
    cut = find_cut(join(syllables(3), syllables(0.4, 0.001), syllables(2)))
    assert cut is not None
    assert 3.0 < cut / INPUT_SAMPLE_RATE < 3.4


def test_long_utterance_without_a_pause_is_not_split_yet() -> None:
    assert find_cut(steady(7)) is None


def test_very_long_utterance_is_split_at_its_quietest_point() -> None:
    cut = find_cut(join(steady(6), steady(0.2, 0.07), steady(2.9)))
    assert cut is not None
    assert 6.0 < cut / INPUT_SAMPLE_RATE < 6.2


def test_utterance_is_not_split_at_a_pause_at_its_start() -> None:
    cut = find_cut(join(syllables(0.2), syllables(0.5, 0), syllables(8.5)))
    assert cut is not None
    assert cut / INPUT_SAMPLE_RATE >= 2
