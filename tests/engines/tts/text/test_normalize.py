"""Normalization turns any text into words without markup and never raises an error."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.engines.tts.text.normalize import normalize
from appliance.engines.tts.text.numbers import cardinal, quantity
from appliance.engines.tts.text.unit_names import UNITS

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
    *"0123456789.,:/-–−$£€%°#*_`~|[](){}<>@& \n'\"abkmstAPMIVX+=^×√±≤≥≠½²⁻µ§…",
    "http://",
    "www.",
    "St.",
    "Dr.",
    "p.m.",
    "million",
    "No.",
    "Chapter ",
    "stage ",
    "Jan.",
    "Mon",
    "mg/kg",
    "mmol/L",
    "BP ",
    "Room ",
    "q8h",
    "Ⅻ",
    "٣",
    "ı",
    "İ",
    "\ud800",
    " to ",
    "10^",
    "e-3",
]


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from(_SNIPPETS), max_size=60).map("".join),
        st.lists(st.sampled_from(_SNIPPETS), max_size=40).map(" ".join),
    ),
    st.booleans(),
)
def test_any_text_becomes_words_without_digits_or_markup(text: str, british: bool) -> None:
    words = normalize(text, british)
    assert not set(words) & set("0123456789*_`#|[]{}<>@$£€%\\\n^+=")
    assert words == words.strip()


@pytest.mark.parametrize(
    "unit",
    [
        "-",
        "1",
        "1,",
        " \n",
        "[",
        "(",
        "1.1.",
        "a.",
        "http://",
        "<a",
        "1/",
        "1-",
        "1 ",
        "A1",
        "IV ",
        "Mon-",
        "mg/",
        "St. ",
        "/a",
        "1:",
        "12 34 ",
        "$1-",
        "1 x ",
        "x^2 ",
    ],
)
def test_long_repetitive_text_does_not_take_exponential_time(unit: str) -> None:
    normalize(unit * (5000 // len(unit)))  # an exponential rule would exceed the run's time limit


# --- Numbers, signs, ranges and units compose.

_AMOUNTS = st.one_of(
    st.integers(2, 999).map(str),
    st.tuples(st.integers(0, 99), st.integers(1, 99)).map(lambda n: f"{n[0]}.{n[1]}"),
)
_SIGNS = {
    "": "",
    "<": "less than",
    "> ": "greater than",
    "≤": "less than or equal to",
    "≥ ": "greater than or equal to",
    "~": "about",
    "±": "plus or minus",
    "-": "minus",
    "+": "plus",
}
# Units that need no context to be recognized.
_CLEAR_UNITS = sorted(
    name for name in UNITS if name.isalpha() and len(name) > 1 and name not in ("in", "pt", "mo")
)
_DENOMINATORS = {"": "", "/kg": " per kilogram", "/h": " per hour", "/day": " per day"}


@given(
    st.sampled_from(sorted(_SIGNS)),
    _AMOUNTS,
    st.sampled_from(_CLEAR_UNITS),
    st.sampled_from(sorted(_DENOMINATORS)),
)
@example("", "2", "pM", "")  # not a time
def test_sign_and_number_and_unit_are_all_spoken(
    sign: str, number: str, unit: str, denominator: str
) -> None:
    expected = f"{_SIGNS[sign]} {quantity(number)} {UNITS[unit][1]}{_DENOMINATORS[denominator]}"
    assert normalize(f"It is {sign}{number} {unit}{denominator}.") == (
        f"It is {' '.join(expected.split())}."
    )


@given(
    st.integers(2, 400),
    st.integers(401, 999),
    st.sampled_from(["–", "-", " – ", " - "]),
    st.sampled_from(["", " "]),
    st.sampled_from(_CLEAR_UNITS),
)
def test_both_ends_of_a_range_are_spoken_with_the_unit(
    low: int, high: int, dash: str, space: str, unit: str
) -> None:
    words = f"{cardinal(low)} to {cardinal(high)} {UNITS[unit][1]}"
    assert normalize(f"Give {low}{dash}{high}{space}{unit} now.") == f"Give {words} now."


_FORMS = {"1": "one", "2.5": "two point five", "1/2": "one half", "1 1/2": "one and a half"}


@given(
    st.sampled_from(sorted(_FORMS)),
    st.sampled_from(sorted(_FORMS)),
    st.sampled_from(["–", " – "]),
    st.sampled_from(["tablets", "puffs of it", "mL"]),
)
def test_every_form_of_number_can_end_a_range(low: str, high: str, dash: str, noun: str) -> None:
    words = normalize(f"Give {low}{dash}{high} {noun}.")
    assert words.startswith(f"Give {_FORMS[low]} to {_FORMS[high]} ")


DOSES = {
    "Give 0.5–1 mg.": "Give zero point five to one milligram.",
    "Give 5 mg -10 mg.": "Give five to ten milligrams.",
    "Give ½–1 tablet.": "Give one half to one tablet.",
    "Give 1–1½ tablets.": "Give one to one and a half tablets.",
    "Give 1-1 1/2 tablets.": "Give one to one and a half tablets.",
    "Give .5 mg.": "Give point five milligrams.",
    "Give 1,5 mg.": "Give one point five milligrams.",
    "Give 1-1/2 tablets.": "Give one and a half tablets.",
    "> 5 mg is too much": "greater than five milligrams is too much",
    "INR <3": "INR less than three",
    "Keep Na<145 and K>3.5.": (
        "Keep N A less than one hundred forty-five and K greater than three point five."
    ),
    "Give 10 mg/5 mL.": "Give ten milligrams per five milliliters.",
}


@pytest.mark.parametrize(("text", "words"), DOSES.items())
def test_no_part_of_a_dose_is_lost(text: str, words: str) -> None:
    assert normalize(text) == words
