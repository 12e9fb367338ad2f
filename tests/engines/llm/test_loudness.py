"""Detection of speech and pauses by loudness."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.loudness import (
    Samples,
    find_cut,
    find_speech,
    remove_offset,
    scale_speech,
)
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
    [np.zeros(0, np.float32), syllables(2, 0.0001), join(syllables(1, 0), syllables(0.06))],
)
def test_silence_and_clicks_contain_no_speech(audio: Samples) -> None:
    assert find_speech(audio) is None


@pytest.mark.parametrize("level", [0.01, 0.3])
def test_steady_noise_contains_no_speech(level: float) -> None:
    assert find_speech(join(steady(0.5, 0.0001), steady(2, level))) is None


def test_dc_offset_does_not_hide_speech() -> None:
    speech = join(steady(0.5, 0.0001), syllables(1, 0.02), steady(0.5, 0.0001))
    assert find_speech(speech + np.float32(0.1)) == find_speech(speech)


def test_offset_is_removed_from_any_audio() -> None:
    assert abs(float(remove_offset(syllables(1) + np.float32(0.3)).mean())) < 1e-4
    assert len(remove_offset(np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize("level", [0.001, 0.02, 0.2])
def test_speech_is_scaled_to_one_level_and_never_clipped(level: float) -> None:
    scaled = scale_speech(join(steady(0.5, 0.00001), syllables(1, level)))
    spoken = scaled[INPUT_SAMPLE_RATE // 2 :]
    assert np.abs(scaled).max() <= 1
    assert 20 * np.log10(np.sqrt(np.mean(np.square(spoken)))) == pytest.approx(-17, abs=1.5)


def test_silence_is_not_scaled() -> None:
    assert not scale_speech(np.zeros(1000, np.float32)).any()


def test_noise_after_louder_words_contains_no_speech() -> None:
    noise = syllables(1.0, 0.003)
    assert find_speech(noise) is not None
    assert find_speech(noise, loudest=0.3) is None


def test_short_utterance_is_not_split() -> None:
    assert find_cut(join(syllables(2), syllables(0.5, 0), syllables(2))) is None


def test_long_utterance_is_split_at_its_pause() -> None:
    cut = find_cut(join(syllables(6), syllables(0.4, 0.001), syllables(5)))
    assert cut is not None
    assert 6.0 < cut / INPUT_SAMPLE_RATE < 6.4


def test_long_utterance_without_a_pause_is_not_split_yet() -> None:
    assert find_cut(steady(12)) is None


def test_very_long_utterance_is_split_at_its_quietest_point() -> None:
    cut = find_cut(join(steady(9), steady(0.2, 0.07), steady(6.1)))
    assert cut is not None
    assert 9.0 < cut / INPUT_SAMPLE_RATE < 9.2


def test_utterance_is_not_split_at_a_pause_at_its_start() -> None:
    cut = find_cut(join(syllables(0.2), syllables(0.5, 0), syllables(15)))
    assert cut is not None
    assert cut / INPUT_SAMPLE_RATE >= 4
