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


@pytest.mark.parametrize("silence_seconds", [0.0, 0.01, 0.5])
def test_silence_around_speech_is_trimmed_or_padded_to_its_length(silence_seconds: float) -> None:
    samples = np.concatenate([quiet(silence_seconds), tone(1.0), quiet(silence_seconds)])
    shaped = audio.shape(samples, pause=0.25)
    lead = min(silence_seconds, audio.LEAD_SECONDS)
    assert len(shaped) / OUTPUT_SAMPLE_RATE == pytest.approx(lead + 1.0 + 0.25, abs=0.011)


def test_speech_starts_and_ends_without_a_click() -> None:
    shaped = audio.shape(tone(0.5), pause=0.0)
    assert abs(shaped[0]) < 0.01
    assert abs(shaped[-1]) < 0.01


def test_too_loud_speech_is_scaled_down_instead_of_clipped() -> None:
    shaped = audio.shape(tone(0.5, level=1.7), pause=0.1)
    assert np.abs(shaped).max() == pytest.approx(audio.MAX_PEAK, abs=0.01)


@pytest.mark.parametrize(
    "samples", [np.zeros(0, np.float32), quiet(1.0), np.full(5000, np.nan, np.float32)]
)
def test_samples_without_speech_yield_no_audio(samples: audio.Samples) -> None:
    assert len(audio.shape(samples, pause=0.2)) == 0
    assert audio.pcm_slices(audio.shape(samples, pause=0.2)) == []


def test_sentence_has_a_longer_pause_than_a_clause() -> None:
    pauses = [audio.pause_seconds(text) for text in ("həlˈO.”", "həlˈO,", "həlˈO", "")]
    assert pauses == [0.25, 0.12, 0.04, 0.04]


def test_joined_slices_equal_the_samples() -> None:
    slices = audio.pcm_slices(tone(1.05))
    assert max(map(len, slices)) <= 0.2 * OUTPUT_SAMPLE_RATE * 2
    pcm = np.frombuffer(b"".join(slices), "<i2")
    assert np.allclose(pcm / 32767, tone(1.05), atol=1e-4)
