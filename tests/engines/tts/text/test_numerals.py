"""Numbers as words."""

from __future__ import annotations

from appliance.engines.tts.text.readings import (
    cardinal,
    clock,
    decimal,
    digits,
    fraction,
    month_day,
    ordinal,
    year,
)


def test_numbers_are_said_the_american_way() -> None:
    assert cardinal("1234") == "one thousand two hundred thirty-four"
    assert ordinal("21") == "twenty-first"
    assert decimal("3", "14") == "three point one four"
    assert year("1984") == "nineteen eighty-four"
    assert month_day(7, 20) == "July twentieth"


def test_what_is_too_long_to_count_is_read_digit_by_digit() -> None:
    assert cardinal("1" * 5000).split() == ["one"] * 5000
    assert digits("042") == "zero four two"


def test_fractions_and_times() -> None:
    assert [fraction("1", "2"), fraction("3", "4")] == ["one half", "three quarters"]
    assert fraction("7", "0") == "seven over zero"
    assert [clock(3, 5, False), clock(3, 0, False)] == ["three oh five", "three o'clock"]
    assert clock(0, 0, False) == "midnight"
