"""How numbers, dates, times, amounts and addresses are read aloud.

Functions that take text return words. Functions that take a match of a rule in `rules` return its
replacement, with spaces at the sides where the words could touch a neighbor. A match that only
looks like a date or a time (12:75 pm, 31/31/2024) is returned as it was written.
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
    """'1234' -> 'one thousand two hundred thirty-four'; a text must hold digits only."""
    return _number_words(number, "cardinal")


def ordinal(number: str | int) -> str:
    """'21' -> 'twenty-first'."""
    return _number_words(number, "ordinal")


def year(number: str | int) -> str:
    """'1984' -> 'nineteen eighty-four', '2005' -> 'two thousand five'."""
    return _number_words(number, "year")


def digits(text: str) -> str:
    """'042' -> 'zero four two'; other characters than digits are dropped."""
    return " ".join(_DIGITS[int(char)] for char in text if char.isdecimal())


def integer(text: str) -> str:
    """A bare integer, read as a year, a code digit by digit, or a quantity."""
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
    over, under = int(numerator), int(denominator)
    if not 2 <= under <= 100 or not 1 <= over <= 99:
        return f"{cardinal(over)} over {cardinal(under)}"
    part = _FRACTION_PARTS.get(under) or ordinal(under)
    if over == 1:
        return f"one {part}"
    return f"{cardinal(over)} {'halves' if under == 2 else part + 's'}"


def number(match: re.Match[str]) -> str:
    """A number that no other rule read, set apart from letters beside it."""
    text = match.group()
    words = quantity(text) if "," in text or "." in text else integer(text)
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    return f"{' ' * before.isalnum()}{words}{' ' * after.isalnum()}"


def dotted(match: re.Match[str]) -> str:
    """A version or a network address: '1.2.3'."""
    return " point ".join(integer(part) for part in match.group().split("."))


def phone(match: re.Match[str]) -> str:
    """A phone number: its digits, with a short pause between groups."""
    groups = re.findall(r"\d+", match.group())
    plus = "plus " if match.group().startswith("+") else ""
    return f" {plus}{', '.join(digits(group) for group in groups)} "


def roman(match: re.Match[str]) -> str:
    """'Henry VIII', 'World War II'."""
    value = lex.ROMAN[match["numeral"]]
    words = f"the {ordinal(value)}" if match["word"] in lex.MONARCHS else cardinal(value)
    return f"{match['word']} {words}"


# --- amounts


def money(match: re.Match[str]) -> str:
    """An amount with its currency: '$3.50', '5 million euros', '-£1'."""
    symbol = match["sign"] or match["sign2"]
    amount = match["amount"] or match["amount2"]
    scale = lex.SCALES.get((match["scale"] or match["scale2"] or "").strip().lower(), "")
    one, many, cent, cents = lex.CURRENCIES.get(symbol.upper(), ("", "", "", ""))
    minus = "minus " if match["minus"] else ""
    whole, _, part = amount.partition(".")
    if scale or (part and len(part) != 2) or not cent:
        is_one = amount == "1" and not scale
        return f" {minus}{quantity(amount)} {scale} {one if is_one else many} "
    pounds, pence = without_separators(whole).lstrip("0"), part.lstrip("0")
    words = []
    if pounds or not pence:
        words.append(f"{cardinal(pounds or 0)} {one if pounds == '1' else many}")
    if pence:
        words.append(f"{cardinal(pence)} {cent if pence == '1' else cents}")
    return f" {minus}{' and '.join(words)} "


def measure(match: re.Match[str]) -> str:
    """A number and its unit, in singular or plural."""
    minus = "minus " if match["minus"] else ""
    one, many = lex.UNITS[match["unit"]]
    unit = one if match["number"] == "1" else many
    return f" {minus}{quantity(match['number'])} {unit} "


# --- times and dates


def clock(hour: int, minute: int, has_half: bool) -> str:
    """(3, 30) -> 'three thirty'; a full hour gets "o'clock" unless AM or PM follows."""
    if minute:
        return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    if has_half:
        return cardinal(hour)
    if hour == 0:
        return "midnight"
    return f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"


def time(match: re.Match[str]) -> str:
    """A time of day; the group `half` is AM or PM, or empty."""
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    if hour > 24 or minute > 59:
        return match.group()
    suffix = f" {half[0].upper()}M" if half else ""
    stop = "." if half and match.group().endswith(".") and _sentence_follows(match) else ""
    return f" {clock(hour, minute, bool(half))}{suffix}{stop} "


def _sentence_follows(match: re.Match[str]) -> bool:
    rest = match.string[match.end() :].lstrip()
    return not rest or rest[0].isupper()


def month_day(month: int, day: int) -> str:
    """(7, 20) -> 'July twentieth'."""
    return f"{lex.MONTHS[month - 1]} {ordinal(day)}"


def numeric_date(british: bool) -> Callable[[re.Match[str]], str]:
    """A reader of 3/4/2024: day first if `british`, and where the month cannot be first."""

    def read(match: re.Match[str]) -> str:
        first, second, year_number = int(match[1]), int(match[2]), int(match[3])
        month, day = (second, first) if british or first > 12 else (first, second)
        if month > 12:
            month, day = day, month
        year_number += 2000 if year_number < 50 else 1900 if year_number < 100 else 0
        return _full_date(year_number, month, day, match)

    return read


def iso_date(match: re.Match[str]) -> str:
    """'2024-03-05'."""
    return _full_date(int(match[1]), int(match[2]), int(match[3]), match)


def _full_date(year_number: int, month: int, day: int, match: re.Match[str]) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    return f" {month_day(month, day)}, {year(year_number)} "


def month_then_day(match: re.Match[str]) -> str:
    """'March 5th'."""
    return f"{lex.month(match['month'])} {ordinal(int(match['day']))}"


def day_then_month(match: re.Match[str]) -> str:
    """'5th of March'."""
    return f"{ordinal(int(match['day']))} of {lex.month(match['month'])}"


def decade(match: re.Match[str]) -> str:
    """'the 80s', '1980s'."""
    return lex.DECADES.get(match[2], match[2]) if not match[1] else _decade_of_century(match)


def _decade_of_century(match: re.Match[str]) -> str:
    plural = lex.DECADES.get(match[2])
    if match[2] == "00":
        return f"{cardinal(int(match[1]))} hundreds" if match[1] != "20" else "two thousands"
    return f"{cardinal(int(match[1]))} {plural}" if plural else match.group()


# --- addresses

MAX_LINK_PARTS = 3  # a longer path is not read
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
    """A web address: host and a short path, without the query."""
    host, path = match["host"], match["path"] or ""
    path, stop = re.fullmatch(r"(.*?)([.,;:!?)]*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    path = re.split(r"[?#]", path)[0].rstrip("/")
    parts = [part for part in path.split("/") if part]
    words = _address_words(host)
    if len(parts) <= MAX_LINK_PARTS and all(len(part) <= MAX_LINK_PART_CHARS for part in parts):
        words += "".join(f" slash {_address_words(part)}" for part in parts)
    return f" {words}{stop.replace(')', '')} "


def email(match: re.Match[str]) -> str:
    """'bob@example.com' -> 'bob at example dot com'."""
    return f" {_address_words(match[1])} at {_address_words(match[2])} "


# --- abbreviations


def abbreviation(match: re.Match[str]) -> str:
    """The word in full; its full stop stays where it also ends the sentence."""
    words = lex.ABBREVIATIONS.get(match[1].lower(), match[1])
    closing = match[1].lower() in lex.CLOSING_ABBREVIATIONS and _sentence_follows(match)
    return words + ("." if closing else "")


def saint_or_street(match: re.Match[str]) -> str:
    """'St.': Saint before a name, otherwise Street."""
    return "Saint " if match["name"] else "Street"
