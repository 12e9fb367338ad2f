"""Splitting phrases into chunks at pauses, and audio without clicks or clipping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.tts import audio
from appliance.link.engine import OUTPUT_SAMPLE_RATE


def test_short_phrase_is_one_chunk() -> None:
    assert audio.split_phonemes("həlˈO ðˈɛɹ.") == ["həlˈO ðˈɛɹ."]


def test_long_phrase_is_split_after_punctuation() -> None:
    first = "ðə lˈIbɹˌɛɹi ˈOpᵊnz æt nˈIn ɪn ðə mˈɔɹnɪŋ,"
    second = "ænd ɪt klˈOzᵻz æt sˈɪks ɪn ðə ˈivnɪŋ."
    assert audio.split_phonemes(f"{first} {second}") == [first, second]


def test_medium_phrase_without_punctuation_is_not_split() -> None:
    phrase = "ə" * 20 + " " + "ə" * 70
    assert audio.split_phonemes(phrase) == [phrase]


@given(st.text(alphabet="əɪˈ .,;!", max_size=600))
def test_chunks_keep_all_phonemes_and_never_exceed_the_limit(phonemes: str) -> None:
    chunks = audio.split_phonemes(phonemes)
    assert all(0 < len(chunk) <= audio.HARD_PHONEMES for chunk in chunks)
    sounds = [c for c in "".join(chunks) if c in "əɪ"]
    assert sounds == [c for c in phonemes if c in "əɪ"]


def tone(seconds: float, level: float = 0.5) -> audio.Samples:
    times = np.arange(round(seconds * OUTPUT_SAMPLE_RATE)) / OUTPUT_SAMPLE_RATE
    return (level * np.sin(2 * np.pi * 200 * times)).astype(np.float32)


def quiet(seconds: float) -> audio.Samples:
    return np.full(round(seconds * OUTPUT_SAMPLE_RATE), 0.001, np.float32)


def shape(samples: audio.Samples, pause: float, part_samples: int = 10**9) -> audio.Samples:
    """Return the shaped samples, which are added in parts."""
    shaper = audio.SpeechShaper(pause)
    parts = [
        shaper.add(samples[start : start + part_samples])
        for start in range(0, len(samples), part_samples)
    ]
    return np.concatenate([*parts, shaper.finish()])


@given(st.integers(1, 6000), st.lists(st.sampled_from([0.0, 0.002, 0.4, 0.7]), max_size=8))
def test_streamed_speech_equals_speech_shaped_as_a_whole(
    part_samples: int, levels: list[float]
) -> None:
    samples = np.concatenate([np.zeros(0, np.float32), *(tone(0.05, level) for level in levels)])
    whole = shape(samples, pause=0.1)
    streamed = shape(samples, pause=0.1, part_samples=part_samples)
    # Windows of 5 ms may begin elsewhere, which moves the start by less than a window.
    assert abs(len(streamed) - len(whole)) <= 2 * audio.WINDOW
    assert np.abs(streamed).max(initial=0) == pytest.approx(np.abs(whole).max(initial=0), abs=0.1)


def test_gain_of_too_loud_speech_never_rises_again() -> None:
    samples = np.concatenate([tone(0.5, 0.9), tone(0.5, 1.5), tone(0.5, 0.9)])
    streamed = shape(samples, pause=0.0, part_samples=2400)
    assert np.abs(streamed).max() <= 1.0
    third = streamed[-OUTPUT_SAMPLE_RATE // 4 :]
    assert np.abs(third).max() == pytest.approx(0.9 * audio.MAX_PEAK / 1.5, abs=0.02)


@pytest.mark.parametrize("silence_seconds", [0.0, 0.01, 0.5])
def test_silence_around_speech_is_trimmed_or_padded_to_its_length(silence_seconds: float) -> None:
    samples = np.concatenate([quiet(silence_seconds), tone(1.0), quiet(silence_seconds)])
    shaped = shape(samples, pause=0.25)
    lead = min(silence_seconds, audio.LEAD_SECONDS)
    assert len(shaped) / OUTPUT_SAMPLE_RATE == pytest.approx(lead + 1.0 + 0.25, abs=0.011)


def test_speech_starts_and_ends_without_a_click() -> None:
    shaped = shape(tone(0.5), pause=0.0)
    assert abs(shaped[0]) < 0.01
    assert abs(shaped[-1]) < 0.01


def test_too_loud_speech_is_scaled_down_instead_of_clipped() -> None:
    shaped = shape(tone(0.5, level=1.7), pause=0.1)
    assert np.abs(shaped).max() == pytest.approx(audio.MAX_PEAK, abs=0.01)


@pytest.mark.parametrize(
    "samples", [np.zeros(0, np.float32), quiet(1.0), np.full(5000, np.nan, np.float32)]
)
def test_samples_without_speech_yield_no_audio(samples: audio.Samples) -> None:
    assert len(shape(samples, pause=0.2)) == 0
    assert audio.pcm_slices(shape(samples, pause=0.2)) == []


def test_sentence_has_a_longer_pause_than_a_clause() -> None:
    pauses = [audio.pause_seconds(text) for text in ("həlˈO.”", "həlˈO,", "həlˈO", "")]
    assert pauses == [0.25, 0.12, 0.04, 0.04]


def test_joined_slices_equal_the_samples() -> None:
    slices = audio.pcm_slices(tone(1.05))
    assert max(map(len, slices)) <= 0.2 * OUTPUT_SAMPLE_RATE * 2
    pcm = np.frombuffer(b"".join(slices), "<i2")
    assert np.allclose(pcm / 32767, tone(1.05), atol=1e-4)
