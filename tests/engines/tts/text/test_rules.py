"""Rules match markup, units, abbreviations and symbols, but not text that merely resembles them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.tts.text.normalize import normalize

WORDS_BY_TEXT = {
    # markup
    "**Bold** and *it* `code` ~~no~~ __x__ snake_case": "Bold and it code no x snake case",
    "# Title\n- one\n* two": "Title, one, two",
    "See [the menu](https://a.b/c_d).": "See the menu.",
    "| a | b |\n|---|---|\n| 1 | 2 |": "a, b, one, two,",
    "<b>hi</b> &amp; bye": "hi and bye",
    "***": "",
    # units
    "5 km at 70 mph": "five kilometers at seventy miles per hour",
    "20°C or 1 kg": "twenty degrees Celsius or one kilogram",
    "16GB": "sixteen gigabytes",
    "I'm 5'10\" tall": "I'm five foot ten tall",
    # abbreviations
    "Dr. Smith and Mrs. Jones": "Doctor Smith and Missus Jones",
    "on St. James St. e.g. here": "on Saint James Street for example here",
    "cats, dogs, etc. We left.": "cats, dogs, et cetera. We left.",
    "No. 5 is alive. No.": "number five is alive. No.",
    "World War II and Henry VIII": "World War two and Henry the eighth",
    "C++ and and/or": "C plus plus and and or",
    # punctuation
    "Wait... what?!! No -- yes": "Wait… what? No — yes",
}


@pytest.mark.parametrize(("text", "words"), WORDS_BY_TEXT.items())
def test_text_is_expanded_as_a_person_would_read_it(text: str, words: str) -> None:
    assert normalize(text) == words


@given(
    st.integers(1, 50_000),
    st.sampled_from(["units", "tablets", "capsules", "beats", "falls", "vials", "large tablets"]),
    st.sampled_from(["/", " / ", "/ "]),
    st.integers(1, 2_000),
    st.sampled_from([" mL", " h", "h", " s", " mg", " days", " bed-days", " patients"]),
)
def test_slash_between_a_count_and_an_amount_is_always_spoken(
    count: int, noun: str, slash: str, amount: int, unit: str
) -> None:
    spoken = normalize(f"Give {count:,} {noun}{slash}{amount}{unit} now.")
    assert spoken.split().count("per") == 1, spoken


@given(
    st.sampled_from(["Charles", "Henry", "George", "Elizabeth", "Benedict", "Louis", "Napoleon"]),
    st.sampled_from(["I", "II", "III", "IV", "V", "VI", "VIII", "XIV", "XVI"]),
    st.sampled_from(["", ".", "!", "?", ", too.", " of France.", ". He ruled."]),
)
def test_numeral_of_a_monarch_is_an_ordinal_whatever_follows(
    name: str, numeral: str, after: str
) -> None:
    assert f"{name} the " in normalize(f"It was {name} {numeral}{after}")


def test_initial_of_a_name_is_no_numeral() -> None:
    assert normalize("Charles V. Jones and William I. Thomas") == (
        "Charles V. Jones and William I. Thomas"
    )
