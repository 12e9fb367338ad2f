"""Numbers as words, on top of num2words; American reading, which drops the 'and' of hundreds."""

from __future__ import annotations

from num2words import num2words  # type: ignore[import-untyped]

from appliance.engines.tts.text.lexicon import MONTHS

MAX_DIGITS = 15  # beyond the trillions nobody counts along: digit by digit
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PARTS = {2: "half", 3: "third", 4: "quarter"}


def _words(number: str | int, to: str) -> str:
    if isinstance(number, str) and len(number) > MAX_DIGITS:
        return digits(number)
    return str(num2words(int(number), to=to)).replace(" and ", " ").replace(",", "")


def cardinal(number: str | int) -> str:
    """'1234' -> 'one thousand two hundred thirty-four'; a text holds digits only."""
    return _words(number, "cardinal")


def ordinal(number: str | int) -> str:
    """'21' -> 'twenty-first'."""
    return _words(number, "ordinal")


def year(number: str | int) -> str:
    """'1984' -> 'nineteen eighty-four', '2005' -> 'two thousand five'."""
    return _words(number, "year")


def digits(text: str) -> str:
    """'042' -> 'zero four two'; anything else than digits is left out."""
    return " ".join(_DIGITS[int(char)] for char in text if char.isdecimal())


def decimal(whole: str, part: str) -> str:
    """('3', '14') -> 'three point one four'."""
    return f"{cardinal(whole or 0)} point {digits(part)}"


def fraction(above: str, below: str) -> str:
    """('3', '4') -> 'three quarters'."""
    if len(above) > 3 or len(below) > 3:
        return f"{cardinal(above)} over {cardinal(below)}"
    over, under = int(above), int(below)
    if not 2 <= under <= 100 or not 1 <= over <= 99:
        return f"{cardinal(over)} over {cardinal(under)}"
    part = _PARTS.get(under) or ordinal(under)
    if over == 1:
        return f"one {part}"
    return f"{cardinal(over)} {'halves' if under == 2 else part + 's'}"


def clock(hour: int, minute: int, has_half: bool) -> str:
    """Half past three as 'three thirty'; a full hour is 'o'clock' unless AM or PM follows."""
    if minute:
        return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    if has_half:
        return cardinal(hour)
    if hour == 0:
        return "midnight"
    return f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"


def month_day(month: int, day: int) -> str:
    """(7, 20) -> 'July twentieth'."""
    return f"{MONTHS[month - 1]} {ordinal(day)}"
