"""Normalization turns any text into words without markup and never raises an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.tts.text.normalize import normalize

WORDS_BY_TEXT = {
    "Hi 😀👍🏽 there ❤️ :) ok": "Hi there ok",
    "😀": "",
    "你好 привет": "",
    "": "",
}


@pytest.mark.parametrize(("text", "words"), WORDS_BY_TEXT.items())
def test_emoji_and_other_scripts_are_dropped(text: str, words: str) -> None:
    assert normalize(text) == words


_SNIPPETS = [
    *"0123456789.,:/-$£%°#*_`~|[](){}<>@& \n'\"abkmstAPM+=",
    "http://",
    "www.",
    "St.",
    "p.m.",
]


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(
            st.sampled_from([*_SNIPPETS, "million", "No.", "Ⅻ", "٣", "ı", "İ", "\ud800"]),
            max_size=60,
        ).map("".join),
    ),
    st.booleans(),
)
def test_any_text_becomes_words_without_digits_or_markup(text: str, british: bool) -> None:
    words = normalize(text, british)
    assert not set(words) & set("0123456789*_`#|[]{}<>@$£€%\\\n")
    assert words == words.strip()


@pytest.mark.parametrize("unit", ["-", "1", "1,", " \n", "[", "(", "1.1.", "a.", "http://", "<a"])
def test_long_repetitive_text_does_not_take_exponential_time(unit: str) -> None:
    normalize(unit * 5000)  # an exponential rule would exceed the test run's time limit
