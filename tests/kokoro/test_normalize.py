"""What is written comes out as a person would say it, and nothing is ever raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kokoro.normalize import normalize

SAID = {
    # markup
    "**Bold** and *it* `code` ~~no~~ __x__ snake_case": "Bold and it code no x snake case",
    "# Title\n- one\n* two": "Title, one, two",
    "See [the menu](https://a.b/c_d).": "See the menu.",
    "| a | b |\n|---|---|\n| 1 | 2 |": "a, b, one, two,",
    "<b>hi</b> &amp; bye": "hi and bye",
    "***": "",
    # emoji and other scripts
    "Hi 😀👍🏽 there ❤️ :) ok": "Hi there ok",
    "😀": "",
    "你好 привет": "",
    "": "",
    # addresses
    "Go to https://www.example.com/help?x=1. Then": "Go to example dot com slash help. Then",
    "Ask bob.smith@example.com now": "Ask bob dot smith at example dot com now",
    "example.com is up": "example dot com is up",
    # times and dates
    "at 3:30 PM": "at three thirty PM",
    "at 3.30 p.m. on Monday": "at three thirty PM on Monday",
    "See you at 5 p.m. Bring it.": "See you at five PM. Bring it.",
    "15:45, 07:05 and 12:00": "fifteen forty-five, seven oh five and twelve o'clock",
    "2024-03-05": "March fifth, twenty twenty-four",
    "12/25/2024": "December twenty-fifth, twenty twenty-four",
    "July 20, 1969": "July twentieth, nineteen sixty-nine",
    "5 March 2021": "fifth of March twenty twenty-one",
    "the 1990s and '80s": "the nineteen nineties and eighties",
    # money
    "$3.50": "three dollars and fifty cents",
    "$1 and $0.99": "one dollar and ninety-nine cents",
    "£20 or 5€": "twenty pounds or five euros",
    "$1.2M": "one point two million dollars",
    "$5 million": "five million dollars",
    "-$5 ¥500": "minus five dollars five hundred yen",
    # numbers
    "50% of 3.14": "fifty percent of three point one four",
    "1,234,567": "one million two hundred thirty-four thousand five hundred sixty-seven",
    "1st, 22nd": "first, twenty-second",
    "1/2 cup, 3/4": "one half cup, three quarters",
    "10-12 people": "ten to twelve people",
    "In 1984 and 2005": "In nineteen eighty-four and two thousand five",
    "5 x 3 = 15": "five times three equals fifteen",
    "-5 degrees": "minus five degrees",
    "#1": "number one",
    "call 911": "call nine one one",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "code 0123": "code zero one two three",
    "version 1.2.3": "version one point two point three",
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


@pytest.mark.parametrize(("written", "said"), SAID.items())
def test_it_is_said_as_a_person_would(written: str, said: str) -> None:
    assert normalize(written) == said


def test_a_british_voice_reads_the_day_first() -> None:
    assert normalize("3/4/2024", british=True).startswith("April third")
    assert normalize("3/4/2024").startswith("March fourth")


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
