"""Numbers: patterns that find them, and the words for them.

`AMOUNT` matches every way to write a quantity: "1,234.5", ".5", "1 1/2", "3.2 × 10^9", "1.5e-3".
The rules for money, units, ranges and signs are built from it.
"""

from __future__ import annotations

import re
from typing import Final

from num2words import num2words

from appliance.engines.tts.text.rule import Match, Rules, rule

MAX_DIGITS: Final = 15  # longer numbers are read digit by digit

NUMBER: Final = r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
_POWER_OF_TEN: Final = r"10\^[-+]?\d+"
# "2E4" is a code, "2E+4" and "2e4" are numbers.
_E_NOTATION: Final = r"\d+(?:\.\d+)?(?:e[-+]?|E[-+])\d+(?!\w)"
SCIENTIFIC: Final = rf"(?:{NUMBER}\s?[x×·*]\s?)?{_POWER_OF_TEN}|{_E_NOTATION}"
_FRACTION: Final = r"(?:\d+[ -])?\d{1,3}/\d{1,3}(?![/\d])"
AMOUNT: Final = rf"(?:{SCIENTIFIC}|{_FRACTION}|{NUMBER})"
# Nothing that belongs to the same number may stand before it.
NUMBER_START: Final = r"(?<![\w^])(?<!\d[.,/])"
SCALES: Final = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "tn": "trillion",
    "hundred": "hundred",
    "thousand": "thousand",
    "million": "million",
    "billion": "billion",
    "trillion": "trillion",
}
# A plural after a number: it counts things, and is not a code, year or size.
COUNTED_NOUN: Final = r"\s(?:[a-z]{2,}[^suia\W\d]s|people|men|women|children)\b"
SCALE_WORD: Final = "thousand|million|billion|trillion"

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PARTS = {2: "half", 3: "third", 4: "quarter"}
# Read digit by digit wherever they stand.
_CODES = frozenset(("911", "404"))


# --- words


def cardinal(number: str | int) -> str:
    """'1234' -> 'one thousand two hundred thirty-four'; a string must contain only digits."""
    return _number_words(number, "cardinal")


def ordinal(number: str | int) -> str:
    """'21' -> 'twenty-first'."""
    return _number_words(number, "ordinal")


def year(number: str | int) -> str:
    """'1984' -> 'nineteen eighty-four', '2005' -> 'two thousand five'."""
    return _number_words(number, "year")


def _number_words(number: str | int, to: str) -> str:
    if isinstance(number, str) and len(number) > MAX_DIGITS:
        return digits(number)
    return str(num2words(int(number), to=to)).replace(" and ", " ").replace(",", "")


def digits(text: str) -> str:
    """'042' -> 'zero four two'; non-digits are dropped."""
    return " ".join(_DIGITS[int(char)] for char in text if char.isdecimal())


def label(number: str) -> str:
    """Read the number of a room, rule, flight or form.

    '101' -> 'one oh one', '1040' -> 'ten forty', '1500' -> 'fifteen hundred'. Numbers with a
    leading zero or with more than four digits are read digit by digit.
    """
    if number.startswith("0") or len(number) > 4:
        return digits(number)
    if len(number) < 3 or number.endswith("000"):
        return cardinal(number)
    front, back = number[:-2], number[-2:]
    if back == "00":
        return f"{cardinal(front)} hundred"
    return f"{cardinal(front)} {'oh ' if back[0] == '0' else ''}{cardinal(back)}"


def integer(text: str) -> str:
    """Read a bare integer as a year, as a code (digit by digit) or as a quantity.

    '1984' -> 'nineteen eighty-four', '911' -> 'nine one one', '1500000' -> 'one million ...'.
    """
    if text in _CODES or (text.startswith("0") and len(text) > 1) or len(text) > 12:
        return digits(text)
    if len(text) == 4 and 1000 <= int(text) <= 2099:
        return year(text)
    if len(text) > 6 and not text.endswith("000"):
        return digits(text)
    return cardinal(text)


def decimal(whole: str, part: str) -> str:
    """('3', '14') -> 'three point one four', ('', '5') -> 'point five'."""
    return f"{cardinal(whole)} point {digits(part)}" if whole else f"point {digits(part)}"


def without_separators(text: str) -> str:
    """'1,234' -> '1234'."""
    return text.replace(",", "")


def quantity(text: str) -> str:
    """'1,234.5' -> 'one thousand two hundred thirty-four point five'."""
    whole, _, part = text.partition(".")
    whole = without_separators(whole)
    return decimal(whole, part) if part else cardinal(whole or 0)


def amount(text: str) -> str:
    """Return the words for what `AMOUNT` matches: '1 1/2' -> 'one and a half'."""
    text = text.strip()
    if match := re.fullmatch(r"(?:(\d+)[ -])?(\d+)/(\d+)", text):
        whole, numerator, denominator = match.groups()
        return mixed(whole, numerator, denominator) if whole else fraction(numerator, denominator)
    if match := re.fullmatch(rf"(?:({NUMBER})\s?[x×·*]\s?)?10\^([-+]?\d+)", text):
        factor = f"{quantity(match[1])} times " if match[1] else ""
        return f"{factor}ten {exponent(match[2])}"
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)[eE]([-+]?\d+)", text):
        return f"{quantity(match[1])} times ten {exponent(match[2])}"
    return quantity(text)


def is_one(text: str) -> bool:
    """Return whether the unit after the amount is singular: '1', '1/2', '3/4'."""
    if match := re.fullmatch(r"(\d+)/(\d+)", text.strip()):
        return int(match[1]) <= int(match[2]) <= 100  # "230/400 V" are two values
    return text.strip() == "1"


def exponent(text: str) -> str:
    """'9' -> 'to the ninth', '-3' -> 'to the minus three', '2' -> 'squared'."""
    if text.startswith("-"):
        return f"to the minus {cardinal(text[1:])}"
    power = text.lstrip("+")
    return "squared" if power == "2" else f"to the {ordinal(power)}"


def fraction(numerator: str, denominator: str) -> str:
    """('3', '4') -> 'three quarters'; what has no common name is read with 'over'."""
    top, bottom = int(numerator), int(denominator)
    if top > bottom > 4 and bottom != 8:  # "120/80 mmHg"
        return f"{cardinal(top)} over {cardinal(bottom)}"
    if not 2 <= bottom <= 100 or not 1 <= top <= 99:
        return f"{cardinal(top)} over {cardinal(bottom)}"
    part = _PARTS.get(bottom) or ordinal(bottom)
    if top == 1:
        return f"one {part}"
    return f"{cardinal(top)} {'halves' if bottom == 2 else part + 's'}"


def mixed(whole: str, numerator: str, denominator: str) -> str:
    """('1', '1', '2') -> 'one and a half', ('3', '3', '4') -> 'three and three quarters'."""
    part = "a half" if (numerator, denominator) == ("1", "2") else fraction(numerator, denominator)
    return f"{cardinal(whole)} and {part}"


# --- rules


def _decimal_comma(match: Match) -> str:
    return f"{match[1].replace('.', '').replace(' ', '')}.{match[2]}"


def _joined(match: Match) -> str:
    return match[0].replace(" ", ",")


# Continental notation becomes American notation. "1,5" is a decimal number only where a unit or a
# currency follows or stands before: "items 1,5" are two.
FORMS: Rules = (
    rule(r"(?<![\w.,'])\d{1,3}(?:'\d{3})+(?![\d'])", lambda m: m[0].replace("'", ",")),
    rule(r"(?<![\w.,])(\d{1,3}(?:[. ]\d{3})+),(\d{1,2})(?![\d,])", _decimal_comma),
    rule(r"(?<=[€$£])(\d+),(\d{1,2})(?![\d,])", _decimal_comma),
    rule(
        r"(?<![\w.,])(\d+),(\d{1,2})(?=\s?(?:€|EUR\b|kr\b|[mµck]?[gLlm]\b|mmol\b|°))",
        _decimal_comma,
    ),
    rule(r"(?<![\w.,])(0),(\d+)(?![\d,])", _decimal_comma),
    # "2.5m users", "500k", but "4K" is a size of a screen
    rule(r"(?<![\w.,])(\d+),(\d{1,2})(?=\s(?:million|billion|trillion|Mio|Mrd)\b)", _decimal_comma),
    rule(r"(?<=\d)\s?(Mio|Mrd)\b\.?", lambda m: " million" if m[1] == "Mio" else " billion"),
    # groups of three digits after a point, with a currency of the continent: "30.000 €"
    rule(
        r"(?<![\w.,])[1-9]\d{0,2}(?:\.\d{3})+(?=\s?(?:€|EUR\b|CHF\b|kr\b|TL\b))"
        r"|(?<=€)[1-9]\d{0,2}(?:\.\d{3})+(?![\d,])|(?<=EUR )[1-9]\d{0,2}(?:\.\d{3})+(?![\d,])"
        r"|(?<=R\$)\s?[1-9]\d{0,2}(?:\.\d{3})+(?![\d,])",
        lambda m: m[0].replace(".", ","),
    ),
    rule(rf"(?<=\d)(?:m|M|mn)(?={COUNTED_NOUN}|\st\b)", " million"),
    rule(r"(?<=\d)\s?bn\b", " billion"),
    rule(r"(?<=\d)\stn\b", " trillion"),
    # cells: "1.5 K/µL"
    rule(r"(?<=\d)\s?K(?=\s?/\s?(?:µL|uL|mcL|mm))", " thousand"),
    rule(rf"(?<=\d)K(?={COUNTED_NOUN})", " thousand"),
    # "10K" is also a race
    rule(r"(?<=\d)k\b(?!/)|(?<!\b10)(?<!\b15)(?<=\d\d)K\b(?!/)", " thousand"),
    rule(r"(?<![\w.,-])(?<!\d )[1-9]\d{0,2}(?: \d{3}){2,}(?![\w-])(?! \d)", _joined),
    rule(r"(?<![\w.,-])(?<!\d )[1-9]\d{0,2} 000(?![\w-])(?! \d)", _joined),
)

_YEAR_BEFORE = re.compile(
    r"(?:\b(?:in|since|by|of|from|until|till|to|before|after|during|the|year|early|late|mid|around"
    r"|and|between|through|or|a|an|january|february|march|april|may|june|july|august|september"
    r"|october|november|december)|[(,–-])\s*$",
    re.I,
)
_SUM_BEFORE = re.compile(r"\b(?:equals|plus|minus|times|divided by)\s+$")
_SUM_AFTER = re.compile(r"\s+(?:equals|plus|minus|times|divided by)\b")
_COUNTED_AFTER = re.compile(COUNTED_NOUN)


def _bare_number(match: Match) -> str:
    """Read a number that no other rule matched; add a space next to adjacent letters."""
    text = match[0]
    before, after = match.string[: match.start()], match.string[match.end() :]
    if not text.isdigit():
        words = amount(text)
    elif (
        len(text) == 4
        and text[0] != "0"
        and (_SUM_BEFORE.search(before) or _SUM_AFTER.match(after))
    ) or (
        _COUNTED_AFTER.match(after)
        and (text in _CODES or (len(text) == 4 and not _YEAR_BEFORE.search(before)))
    ):
        words = cardinal(text)
    else:
        words = integer(text)
    return f"{' ' * before[-1:].isalnum()}{words}{' ' * after[:1].isalnum()}"


def _ordinal(match: Match) -> str:
    return ordinal(without_separators(match[1]))


BARE: Rules = (
    rule(r"(?<![\w.])(\d+(?:,\d{3})*)\s?(?:st|nd|rd|th)\b", _ordinal),
    rule(rf"#\s?(?={NUMBER})", "number "),
    rule(r"\b[vV](?:er)?\.?(?=\d)", "version "),
    rule(r"(?<![\d.,])\d{5,}(?![\d,.])|" + NUMBER, _bare_number),
)
