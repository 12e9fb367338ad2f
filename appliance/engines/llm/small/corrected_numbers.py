"""Corrects the last digit of a number that the caller has told: "No, it ends in three." No I/O.

Small models repeat the old number. The new one is known, so the prompt has it after the correction:

    My number is five five five, zero one four two.
    No, it ends in three. (The number is five five five, zero one four three.)
"""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT = rf"(?:\d|\b(?:{'|'.join(_DIGITS)}|oh)\b)"
_SEPARATOR = r"(?:\s?[,-]\s?|\s)?"
# At least two digits, in words or figures.
_NUMBER = re.compile(rf"{_DIGIT}(?:{_SEPARATOR}{_DIGIT})+", re.IGNORECASE)
_ENDS = r"(?:ends|ending) (?:in|with|on)"
_LAST = r"last (?:digit|number|figure|one)(?: is|'s| was| should be| to)(?: now)?"
_CORRECTION = re.compile(
    rf"\b(?:{_ENDS}|{_LAST}) (?:an? )?(?P<digit>{_DIGIT})(?!{_SEPARATOR}{_DIGIT})", re.IGNORECASE
)


def find_number(text: str) -> str:
    """Return the last number of two or more digits in a text, as it is said; '' if none is."""
    found = _NUMBER.findall(text)
    return found[-1] if found else ""


def corrected_number(text: str, number: str) -> str:
    """Return `number` with the last digit that `text` gives; '' if `text` corrects no digit.

    The new digit is in figures or words, as the old one.
    """
    correction = _CORRECTION.search(text.replace("’", "'"))
    last = re.search(rf"{_DIGIT}$", number, re.IGNORECASE)
    if correction is None or last is None:
        return ""
    return number[: last.start()] + _like(correction["digit"], last[0])


def _like(digit: str, old: str) -> str:
    digit = "zero" if digit.lower() == "oh" else digit.lower()
    if old.isdigit():
        return digit if digit.isdigit() else str(_DIGITS.index(digit))
    return _DIGITS[int(digit)] if digit.isdigit() else digit
