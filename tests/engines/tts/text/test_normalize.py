"""Whatever the text, words without markup come out, and nothing is ever raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.tts.text.normalize import normalize

SPOKEN_CHARACTERS = {
    "Hi 😀👍🏽 there ❤️ :) ok": "Hi there ok",
    "😀": "",
    "你好 привет": "",
    "": "",
}


@pytest.mark.parametrize(("written", "said"), SPOKEN_CHARACTERS.items())
def test_emoji_and_other_scripts_are_left_out(written: str, said: str) -> None:
    assert normalize(written) == said


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
    said = normalize(text, british)
    assert not set(said) & set("0123456789*_`#|[]{}<>@$£€%\\\n")
    assert said == said.strip()


@pytest.mark.parametrize("unit", ["-", "1", "1,", " \n", "[", "(", "1.1.", "a.", "http://", "<a"])
def test_long_nonsense_is_no_work(unit: str) -> None:
    normalize(unit * 5000)  # the time limit of a test would be met if a rule were exponential
