"""Addresses, times, dates, amounts and numbers are expanded as a person would read them."""

from __future__ import annotations

import pytest

from appliance.engines.tts.text.dates import MONTHS, month_day
from appliance.engines.tts.text.normalize import normalize
from appliance.engines.tts.text.numbers import (
    cardinal,
    decimal,
    digits,
    fraction,
    ordinal,
    year,
)
from appliance.engines.tts.text.times import clock


def test_numbers_are_read_in_american_english() -> None:
    assert cardinal("1234") == "one thousand two hundred thirty-four"
    assert ordinal("21") == "twenty-first"
    assert decimal("3", "14") == "three point one four"
    assert year("1984") == "nineteen eighty-four"
    assert month_day(7, 20) == "July twentieth"


def test_very_long_number_is_read_digit_by_digit() -> None:
    assert cardinal("1" * 5000).split() == ["one"] * 5000
    assert digits("042") == "zero four two"


def test_fractions_and_times_are_spelled_out() -> None:
    assert [fraction("1", "2"), fraction("3", "4")] == ["one half", "three quarters"]
    assert fraction("7", "0") == "seven over zero"
    assert [clock(3, 5, False), clock(3, 0, False)] == ["three oh five", "three o'clock"]
    assert clock(0, 0, False) == "midnight"


WORDS_BY_TEXT = {
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
    "5 March 2021": "the fifth of March twenty twenty-one",
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
}


@pytest.mark.parametrize(("text", "words"), WORDS_BY_TEXT.items())
def test_text_is_expanded_as_a_person_would_read_it(text: str, words: str) -> None:
    assert normalize(text) == words


def test_british_voice_reads_the_day_first() -> None:
    assert normalize("3/4/2024", british=True).startswith("April third")
    assert normalize("3/4/2024").startswith("March fourth")


@pytest.mark.parametrize("text", ["12:75 pm", "31/31/2024", "2024-13-45"])
def test_impossible_date_or_time_is_read_as_numbers(text: str) -> None:
    words = normalize(text)
    assert not any(month in words for month in MONTHS)
    assert words
