from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.loudness import RATE, Samples, cut_point, speech_span

RANDOM = np.random.default_rng(0)


def sound(seconds: float, level: float = 0.1) -> Samples:
    """Noise that rises and falls four times a second, as syllables do."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (steady(seconds, level) * (1.2 + np.sin(2 * np.pi * 4 * time))).astype(np.float32)


def steady(seconds: float, level: float = 0.1) -> Samples:
    return (RANDOM.normal(size=int(seconds * RATE)) * level).astype(np.float32)


def joined(*parts: Samples) -> Samples:
    return np.concatenate(parts)


def test_silence_around_speech_is_left_out_but_for_a_margin() -> None:
    audio = joined(sound(1.0, 0.0001), sound(2.0), sound(1.5, 0.0001))
    span = speech_span(audio)
    assert span is not None
    assert span[0] / RATE == pytest.approx(0.8, abs=0.03)
    assert span[1] / RATE == pytest.approx(3.2, abs=0.03)


@pytest.mark.parametrize(
    "audio", [np.zeros(0, np.float32), sound(2, 0.0005), joined(sound(1, 0), sound(0.06))]
)
def test_silence_and_clicks_hold_no_speech(audio: Samples) -> None:
    assert speech_span(audio) is None


@pytest.mark.parametrize("level", [0.01, 0.3])
def test_a_steady_noise_is_no_speech(level: float) -> None:
    assert speech_span(joined(steady(0.5, 0.0001), steady(2, level))) is None


def test_noise_between_loud_words_is_no_speech() -> None:
    noise = sound(1.0, 0.003)
    assert speech_span(noise) is not None
    assert speech_span(noise, loudest=0.3) is None


def test_a_short_utterance_is_not_cut() -> None:
    assert cut_point(joined(sound(2), sound(0.5, 0), sound(2))) is None


def test_a_long_one_is_cut_in_its_pause() -> None:
    cut = cut_point(joined(sound(3), sound(0.4, 0.001), sound(2)))
    assert cut is not None
    assert 3.0 < cut / RATE < 3.4


def test_without_a_pause_it_waits_for_one() -> None:
    assert cut_point(steady(7)) is None


def test_but_not_for_ever() -> None:
    cut = cut_point(joined(steady(6), steady(0.2, 0.07), steady(2.9)))
    assert cut is not None
    assert 6.0 < cut / RATE < 6.2


def test_a_pause_at_the_very_beginning_makes_no_tiny_piece() -> None:
    cut = cut_point(joined(sound(0.2), sound(0.5, 0), sound(8.5)))
    assert cut is not None
    assert cut / RATE >= 2
