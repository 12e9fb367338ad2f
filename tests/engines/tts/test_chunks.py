"""Long phrases are synthesised in chunks that a speaker would pause between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.tts.audio import HARD_PHONEMES, chunks


def test_a_short_phrase_is_one_chunk() -> None:
    assert chunks("həlˈO ðˈɛɹ.") == ["həlˈO ðˈɛɹ."]


def test_a_long_one_is_cut_after_punctuation() -> None:
    first = "ðə lˈIbɹˌɛɹi ˈOpᵊnz æt nˈIn ɪn ðə mˈɔɹnɪŋ,"
    second = "ænd ɪt klˈOzᵻz æt sˈɪks ɪn ðə ˈivnɪŋ."
    assert chunks(f"{first} {second}") == [first, second]


def test_without_punctuation_a_rather_long_phrase_stays_whole() -> None:
    phrase = "ə" * 20 + " " + "ə" * 70
    assert chunks(phrase) == [phrase]


@given(st.text(alphabet="əɪˈ .,;!", max_size=600))
def test_no_phoneme_is_lost_and_no_chunk_is_too_long(phonemes: str) -> None:
    found = chunks(phonemes)
    assert all(0 < len(chunk) <= HARD_PHONEMES for chunk in found)
    sounds = [c for c in "".join(found) if c in "əɪ"]
    assert sounds == [c for c in phonemes if c in "əɪ"]
