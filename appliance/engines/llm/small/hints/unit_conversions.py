"""Converts units that a caller asks for, because small models get large numbers wrong. No I/O.

    How many minutes are in seven hours? -> 420 minutes
    What is twenty degrees Celsius in Fahrenheit? -> 68 degrees Fahrenheit
    How many centimetres are six inches? -> 15.24 centimetres

A question is a conversion only if nothing else is in it. English, as `llm.language`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import NUMBER, number_value, plain, written
from appliance.engines.llm.small.hints.openings import ASKS_TO_KNOW, FILLERS

# The size of each unit in the smallest unit of its kind; the first name is written.
_KINDS: Final[tuple[dict[str, Fraction], ...]] = (
    {
        "seconds|second": Fraction(1),
        "minutes|minute": Fraction(60),
        "hours|hour": Fraction(3600),
        "days|day": Fraction(86_400),
        "weeks|week": Fraction(604_800),
    },
    {
        "months|month": Fraction(1),
        "quarters": Fraction(3),
        "years|year": Fraction(12),
        "decades|decade": Fraction(120),
        "centuries|century": Fraction(1200),
    },
    {
        "millimeters|millimeter|millimetres|millimetre": Fraction(1),
        "centimeters|centimeter|centimetres|centimetre": Fraction(10),
        "meters|meter|metres|metre": Fraction(1000),
        "kilometers|kilometer|kilometres|kilometre": Fraction(1_000_000),
        "inches|inch": Fraction(254, 10),
        "feet|foot": Fraction(3048, 10),
        "yards|yard": Fraction(9144, 10),
        "miles|mile": Fraction(1_609_344),
    },
    {
        "milligrams|milligram": Fraction(1),
        "grams|gram|grammes|gramme": Fraction(1000),
        "kilograms|kilogram|kilos|kilo": Fraction(1_000_000),
        "tons|ton|tonnes|tonne": Fraction(10**9),
        "ounces|ounce": Fraction(28_349_523_125, 1_000_000),
        "pounds|pound": Fraction(45_359_237, 100),
    },
    {
        "milliliters|milliliter|millilitres|millilitre": Fraction(1),
        "centiliters|centiliter|centilitres|centilitre": Fraction(10),
        "deciliters|deciliter|decilitres|decilitre": Fraction(100),
        "liters|liter|litres|litre": Fraction(1000),
    },
    {"cents|cent": Fraction(1), "dollars|dollar": Fraction(100)},
    {"cents|cent": Fraction(1), "euros|euro": Fraction(100)},
    {"pence": Fraction(1), "pounds|pound": Fraction(100)},
    {"eggs|pieces|items": Fraction(1), "dozen|dozens": Fraction(12)},
)
_UNIT: Final = "|".join(
    sorted((name for kind in _KINDS for names in kind for name in names.split("|")), key=len)[::-1]
)
_SCALE: Final = r"(?:degrees? )?(?P<{}>celsius|centigrade|fahrenheit)"
_AMOUNT: Final = rf"(?:(?P<amount>{NUMBER})(?P<half> and a half)?|(?P<half_of>half )?(?:an?|one))"
_OPENING: Final = rf"{FILLERS}{ASKS_TO_KNOW}(?:(?:(?:can|could) you )?(?:please )?convert )?"
_FORMS: Final = tuple(
    re.compile(rf"{_OPENING}{pattern}(?:,? please)?")
    for pattern in (
        rf"how many (?P<to>{_UNIT}) (?:(?:are|is|do) )?(?:there |you )?(?:have )?(?:in|make(?:"
        rf" up)?|are|is)?"
        rf" ?{_AMOUNT} (?P<from>{_UNIT})(?: have)?",
        rf"(?:what(?:'s| is| are)|how (?:much|many) (?:is|are))? ?{_AMOUNT} (?P<from>{_UNIT})"
        rf" (?:in|to|into) (?P<to>{_UNIT})",
    )
)
_DEGREES: Final = re.compile(
    rf"{_OPENING}(?:what(?:'s| is| are)|how (?:much|many|hot|warm|cold) (?:is|are))? ?"
    rf"(?:(?P<sign>minus) )?(?P<amount>{NUMBER}) {_SCALE.format('from')}"
    rf" (?:in|to|into) {_SCALE.format('to')}(?:,? please)?"
)
_UNWRITABLE: Final = 100_000_000


def converted(text: str) -> str:
    """Return the amount with its unit that `text` asks for; '' if it asks for something else."""
    asked = plain(text).rstrip(".?! ")
    if match := _DEGREES.fullmatch(asked):
        return _degrees(match)
    for form in _FORMS:
        if match := form.fullmatch(asked):
            return _amount(match)
    return ""


def _degrees(match: re.Match[str]) -> str:
    value = number_value(match["amount"]) * (-1 if match["sign"] else 1)
    to_fahrenheit = match["to"] == "fahrenheit"
    if (match["from"] == "fahrenheit") == to_fahrenheit:
        return ""
    result = value * 9 / 5 + 32 if to_fahrenheit else (value - 32) * 5 / 9
    return f"{written(result)} degrees {'Fahrenheit' if to_fahrenheit else 'Celsius'}"


def _amount(match: re.Match[str]) -> str:
    value = number_value(match["amount"]) if match["amount"] else Fraction(1)
    if match["half_of"]:
        value /= 2
    elif match["half"]:
        value += Fraction(1, 2)
    for kind in _KINDS:
        sizes = {name: size for names, size in kind.items() for name in names.split("|")}
        if match["from"] in sizes and match["to"] in sizes:
            result = value * sizes[match["from"]] / sizes[match["to"]]
            return f"{written(result)} {match['to']}" if result < _UNWRITABLE else ""
    return ""
