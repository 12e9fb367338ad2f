"""Converts numbers, dates, times, amounts and addresses to the words that are read aloud.

Functions that take text return words. Functions that take a match of a rule in `rules` return the
replacement for the match, padded with spaces where it might otherwise run into adjacent text. A
match that only looks like a date or a time (12:75 pm, 31/31/2024) is returned unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from num2words import num2words

from appliance.engines.tts.text import lexicon as lex

# --- numbers

MAX_DIGITS = 15  # longer numbers are read digit by digit
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FRACTION_PARTS = {2: "half", 3: "third", 4: "quarter"}


def _number_words(number: str | int, to: str) -> str:
    if isinstance(number, str) and len(number) > MAX_DIGITS:
        return digits(number)
    return str(num2words(int(number), to=to)).replace(" and ", " ").replace(",", "")


def cardinal(number: str | int) -> str:
    """'1234' -> 'one thousand two hundred thirty-four'; a string must contain only digits."""
    return _number_words(number, "cardinal")


def ordinal(number: str | int) -> str:
    """'21' -> 'twenty-first'."""
    return _number_words(number, "ordinal")


def year(number: str | int) -> str:
    """'1984' -> 'nineteen eighty-four', '2005' -> 'two thousand five'."""
    return _number_words(number, "year")


def digits(text: str) -> str:
    """'042' -> 'zero four two'; non-digits are dropped."""
    return " ".join(_DIGITS[int(char)] for char in text if char.isdecimal())


def integer(text: str) -> str:
    """Read a bare integer as a year, as a code (digit by digit) or as a quantity.

    '1984' -> 'nineteen eighty-four', '911' -> 'nine one one', '1500000' -> 'one million ...'.
    """
    if text in lex.CODES or (text.startswith("0") and len(text) > 1) or len(text) > 12:
        return digits(text)
    if len(text) == 4 and 1000 <= int(text) <= 2099:
        return year(text)
    if len(text) > 6 and not text.endswith("000"):
        return digits(text)
    return cardinal(text)


def decimal(whole: str, part: str) -> str:
    """('3', '14') -> 'three point one four'."""
    return f"{cardinal(whole or 0)} point {digits(part)}"


def without_separators(text: str) -> str:
    """'1,234' -> '1234'."""
    return text.replace(",", "")


def quantity(text: str) -> str:
    """'1,234.5' -> 'one thousand two hundred thirty-four point five'."""
    whole, _, part = text.partition(".")
    whole = without_separators(whole)
    return decimal(whole, part) if part else cardinal(whole)


def fraction(numerator: str, denominator: str) -> str:
    """('3', '4') -> 'three quarters'."""
    if len(numerator) > 3 or len(denominator) > 3:
        return f"{cardinal(numerator)} over {cardinal(denominator)}"
    top, bottom = int(numerator), int(denominator)
    if not 2 <= bottom <= 100 or not 1 <= top <= 99:
        return f"{cardinal(top)} over {cardinal(bottom)}"
    part = _FRACTION_PARTS.get(bottom) or ordinal(bottom)
    if top == 1:
        return f"one {part}"
    return f"{cardinal(top)} {'halves' if bottom == 2 else part + 's'}"


def number(match: re.Match[str]) -> str:
    """Read a number that no other rule matched; add a space next to adjacent letters."""
    text = match.group()
    words = quantity(text) if "," in text or "." in text else integer(text)
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    return f"{' ' * before.isalnum()}{words}{' ' * after.isalnum()}"


def dotted(match: re.Match[str]) -> str:
    """Read a version or a network address: '1.2.3' -> 'one point two point three'."""
    return " point ".join(integer(part) for part in match.group().split("."))


def phone(match: re.Match[str]) -> str:
    """Read a phone number digit by digit, with a short pause between groups."""
    groups = re.findall(r"\d+", match.group())
    plus = "plus " if match.group().startswith("+") else ""
    return f" {plus}{', '.join(digits(group) for group in groups)} "


def roman(match: re.Match[str]) -> str:
    """'Henry VIII' -> 'Henry the eighth', 'War II' -> 'War two'."""
    value = lex.ROMAN[match["numeral"]]
    words = f"the {ordinal(value)}" if match["word"] in lex.MONARCHS else cardinal(value)
    return f"{match['word']} {words}"


# --- amounts


def money(match: re.Match[str]) -> str:
    """'$3.50' -> 'three dollars and fifty cents', '-£1' -> 'minus one pound'."""
    symbol = match["sign"] or match["sign2"]
    amount = match["amount"] or match["amount2"]
    scale = lex.SCALES.get((match["scale"] or match["scale2"] or "").strip().lower(), "")
    one, many, cent, cents = lex.CURRENCIES.get(symbol.upper(), ("", "", "", ""))
    minus = "minus " if match["minus"] else ""
    whole, _, part = amount.partition(".")
    if scale or (part and len(part) != 2) or not cent:
        is_one = amount == "1" and not scale
        return f" {minus}{quantity(amount)} {scale} {one if is_one else many} "
    major, minor = without_separators(whole).lstrip("0"), part.lstrip("0")
    words = []
    if major or not minor:
        words.append(f"{cardinal(major or 0)} {one if major == '1' else many}")
    if minor:
        words.append(f"{cardinal(minor)} {cent if minor == '1' else cents}")
    return f" {minus}{' and '.join(words)} "


def measure(match: re.Match[str]) -> str:
    """'5 km' -> 'five kilometers', '-1 °C' -> 'minus one degree Celsius'."""
    minus = "minus " if match["minus"] else ""
    one, many = lex.UNITS[match["unit"]]
    unit = one if match["number"] == "1" else many
    return f" {minus}{quantity(match['number'])} {unit} "


# --- times and dates


def clock(hour: int, minute: int, has_am_pm: bool) -> str:
    """(3, 30) -> 'three thirty'; on the hour, add "o'clock" unless AM or PM follows."""
    if minute:
        return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    if has_am_pm:
        return cardinal(hour)
    if hour == 0:
        return "midnight"
    return f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"


def time(match: re.Match[str]) -> str:
    """'3:30 pm' -> 'three thirty PM', '15:00' -> 'fifteen hundred'."""
    hour, minute, am_pm = int(match["hour"]), int(match["minute"] or 0), match["am_pm"]
    if hour > 24 or minute > 59:
        return match.group()
    suffix = f" {am_pm[0].upper()}M" if am_pm else ""
    period = "." if am_pm and match.group().endswith(".") and _ends_sentence(match) else ""
    return f" {clock(hour, minute, bool(am_pm))}{suffix}{period} "


def _ends_sentence(match: re.Match[str]) -> bool:
    rest = match.string[match.end() :].lstrip()
    return not rest or rest[0].isupper()


def month_day(month: int, day: int) -> str:
    """(7, 20) -> 'July twentieth'."""
    return f"{lex.MONTHS[month - 1]} {ordinal(day)}"


def numeric_date(british: bool) -> Callable[[re.Match[str]], str]:
    """Return a function that reads dates such as 3/4/2024.

    The day comes first if `british`, or if the first number exceeds 12.
    """

    def read(match: re.Match[str]) -> str:
        first, second, year_number = int(match[1]), int(match[2]), int(match[3])
        month, day = (second, first) if british or first > 12 else (first, second)
        if month > 12:
            month, day = day, month
        year_number += 2000 if year_number < 50 else 1900 if year_number < 100 else 0
        return _full_date(year_number, month, day, match)

    return read


def iso_date(match: re.Match[str]) -> str:
    """'2024-03-05' -> 'March fifth, twenty twenty-four'."""
    return _full_date(int(match[1]), int(match[2]), int(match[3]), match)


def _full_date(year_number: int, month: int, day: int, match: re.Match[str]) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    return f" {month_day(month, day)}, {year(year_number)} "


def month_then_day(match: re.Match[str]) -> str:
    """'March 5th' -> 'March fifth'."""
    return f"{lex.month(match['month'])} {ordinal(int(match['day']))}"


def day_then_month(match: re.Match[str]) -> str:
    """'5th of March' -> 'fifth of March'."""
    return f"{ordinal(int(match['day']))} of {lex.month(match['month'])}"


def decade(match: re.Match[str]) -> str:
    """'80s' -> 'eighties', '1980s' -> 'nineteen eighties'."""
    return lex.DECADES.get(match[2], match[2]) if not match[1] else _decade_of_century(match)


def _decade_of_century(match: re.Match[str]) -> str:
    plural = lex.DECADES.get(match[2])
    if match[2] == "00":
        return f"{cardinal(int(match[1]))} hundreds" if match[1] != "20" else "two thousands"
    return f"{cardinal(int(match[1]))} {plural}" if plural else match.group()


# --- addresses

MAX_LINK_PARTS = 3  # longer paths are not read
MAX_LINK_PART_CHARS = 24
_ADDRESS_SYMBOLS = (
    (".", " dot "),
    ("-", " dash "),
    ("_", " underscore "),
    ("/", " slash "),
    ("+", " plus "),
    (":", " port "),
    ("~", " "),
)


def _address_words(text: str) -> str:
    """'bob.smith-2' -> 'bob dot smith dash two'."""
    for symbol, word in _ADDRESS_SYMBOLS:
        text = text.replace(symbol, word)
    text = re.sub(r"[^A-Za-z0-9 ]+", " ", text)
    text = re.sub(r"\d+", lambda m: f" {integer(m.group())} ", text)
    return re.sub(r"\s+", " ", text).strip()


def link(match: re.Match[str]) -> str:
    """Read the host and a short path of a web address, without the query."""
    host, path = match["host"], match["path"] or ""
    path, punctuation = re.fullmatch(r"(.*?)([.,;:!?)]*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    path = re.split(r"[?#]", path)[0].rstrip("/")
    parts = [part for part in path.split("/") if part]
    words = _address_words(host)
    if len(parts) <= MAX_LINK_PARTS and all(len(part) <= MAX_LINK_PART_CHARS for part in parts):
        words += "".join(f" slash {_address_words(part)}" for part in parts)
    return f" {words}{punctuation.replace(')', '')} "


def email(match: re.Match[str]) -> str:
    """'bob@example.com' -> 'bob at example dot com'."""
    return f" {_address_words(match[1])} at {_address_words(match[2])} "


# --- abbreviations


def abbreviation(match: re.Match[str]) -> str:
    """Return the full word; the period is kept if it also ends the sentence."""
    words = lex.ABBREVIATIONS.get(match[1].lower(), match[1])
    closing = match[1].lower() in lex.CLOSING_ABBREVIATIONS and _ends_sentence(match)
    return words + ("." if closing else "")


def saint_or_street(match: re.Match[str]) -> str:
    """'St.' -> 'Saint ' before a name, otherwise 'Street'."""
    return "Saint " if match["name"] else "Street"
