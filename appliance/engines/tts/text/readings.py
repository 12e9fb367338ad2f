"""How one thing that `rules` found is read: an address, an amount, a date, a time, a number.

The readings take the match and return words, with spaces at the sides where these could touch a
neighbour. What turns out to be none (12:75 pm, 31/31/2024) comes back as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from num2words import num2words

from appliance.engines.tts.text import lexicon as lex
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


def bare(text: str) -> str:
    """A number without its thousands separators."""
    return text.replace(",", "")


def _address_words(text: str) -> str:
    """'bob.smith-2' as it is said: 'bob dot smith dash two'."""
    for symbol, word in (
        (".", " dot "),
        ("-", " dash "),
        ("_", " underscore "),
        ("/", " slash "),
        ("+", " plus "),
        (":", " port "),
        ("~", " "),
    ):
        text = text.replace(symbol, word)
    text = re.sub(r"[^A-Za-z0-9 ]+", " ", text)
    text = re.sub(r"\d+", lambda m: f" {_plain_number(m.group())} ", text)
    return re.sub(r"\s+", " ", text).strip()


def link(match: re.Match[str]) -> str:
    """A web address: host, then at most three short parts of the path; never the query."""
    host, path = match["host"], match["path"] or ""
    path, stop = re.fullmatch(r"(.*?)([.,;:!?)]*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    path = re.split(r"[?#]", path)[0].rstrip("/")
    parts = [part for part in path.split("/") if part]
    said = _address_words(host)
    if len(parts) <= 3 and all(len(part) <= 24 for part in parts):
        said += "".join(f" slash {_address_words(part)}" for part in parts)
    return f" {said}{stop.replace(')', '')} "


def email(match: re.Match[str]) -> str:
    """'bob@example.com' as 'bob at example dot com'."""
    return f" {_address_words(match[1])} at {_address_words(match[2])} "


def _plain_number(text: str) -> str:
    """A bare integer: a year, a code read digit by digit, or a quantity."""
    if text in lex.CODES or (text.startswith("0") and len(text) > 1) or len(text) > 12:
        return digits(text)
    if len(text) == 4 and 1000 <= int(text) <= 2099:
        return year(text)
    if len(text) > 6 and not text.endswith("000"):
        return digits(text)
    return cardinal(text)


def quantity(text: str) -> str:
    """An integer or decimal number with thousands separators, as an amount."""
    whole, _, part = text.partition(".")
    return decimal(bare(whole), part) if part else cardinal(bare(whole))


def number(match: re.Match[str]) -> str:
    """Any number that is left, set apart from letters beside it."""
    text = match.group()
    said = quantity(text) if "," in text or "." in text else _plain_number(text)
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    return f"{' ' * before.isalnum()}{said}{' ' * after.isalnum()}"


def money(match: re.Match[str]) -> str:
    """An amount with its currency: '$3.50', '5 million euros', '-£1'."""
    symbol = match["sign"] or match["sign2"]
    amount = match["amount"] or match["amount2"]
    scale = lex.SCALES.get((match["scale"] or match["scale2"] or "").strip().lower(), "")
    one, many, cent, cents = lex.CURRENCIES.get(symbol.upper(), ("", "", "", ""))
    minus = "minus " if match["minus"] else ""
    whole, _, part = amount.partition(".")
    if scale or (part and len(part) != 2) or not cent:
        single = amount == "1" and not scale
        return f" {minus}{quantity(amount)} {scale} {one if single else many} "
    pounds, pence = bare(whole).lstrip("0"), part.lstrip("0")
    said = []
    if pounds or not pence:
        said.append(f"{cardinal(pounds or 0)} {one if pounds == '1' else many}")
    if pence:
        said.append(f"{cardinal(pence)} {cent if pence == '1' else cents}")
    return f" {minus}{' and '.join(said)} "


def measure(match: re.Match[str]) -> str:
    """A number and its unit, which is one or many."""
    minus = "minus " if match["minus"] else ""
    one, many = lex.UNITS[match["unit"]]
    unit = one if match["number"] == "1" else many
    return f" {minus}{quantity(match['number'])} {unit} "


def time(match: re.Match[str]) -> str:
    """A time of day; `half` is AM or PM."""
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    if hour > 24 or minute > 59:
        return match.group()
    suffix = f" {half[0].upper()}M" if half else ""
    stop = "." if half and match.group().endswith(".") and _sentence_follows(match) else ""
    return f" {clock(hour, minute, bool(half))}{suffix}{stop} "


def _sentence_follows(match: re.Match[str]) -> bool:
    rest = match.string[match.end() :].lstrip()
    return not rest or rest[0].isupper()


def numeric_date(british: bool) -> Callable[[re.Match[str]], str]:
    """Reads 3/4/2024: the day first if `british`, and wherever the month cannot be first."""

    def said(match: re.Match[str]) -> str:
        first, second, of = int(match[1]), int(match[2]), int(match[3])
        month, day = (second, first) if british or first > 12 else (first, second)
        if month > 12:
            month, day = day, month
        of += 2000 if of < 50 else 1900 if of < 100 else 0
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return match.group()
        return f" {month_day(month, day)}, {year(of)} "

    return said


def iso_date(match: re.Match[str]) -> str:
    """'2024-03-05'."""
    of, month, day = int(match[1]), int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    return f" {month_day(month, day)}, {year(of)} "


def month_then_day(match: re.Match[str]) -> str:
    """'March 5th'."""
    name = lex.month(match["month"])
    return f"{name} {ordinal(int(match['day']))}"


def day_then_month(match: re.Match[str]) -> str:
    """'5th of March'."""
    return f"{ordinal(int(match['day']))} of {lex.month(match['month'])}"


def decade(match: re.Match[str]) -> str:
    """'the 80s', '1980s'."""
    return lex.DECADES.get(match[2], match[2]) if not match[1] else _century(match)


def _century(match: re.Match[str]) -> str:
    plural = lex.DECADES.get(match[2])
    if match[2] == "00":
        return f"{cardinal(int(match[1]))} hundreds" if match[1] != "20" else "two thousands"
    return f"{cardinal(int(match[1]))} {plural}" if plural else match.group()


def phone(match: re.Match[str]) -> str:
    """A number with groups: the digits, with a short pause between the groups."""
    groups = re.findall(r"\d+", match.group())
    plus = "plus " if match.group().startswith("+") else ""
    return f" {plus}{', '.join(digits(group) for group in groups)} "


def dotted(match: re.Match[str]) -> str:
    """A version or network address: 1.2.3."""
    return " point ".join(_plain_number(p) for p in match.group().split("."))


def roman(match: re.Match[str]) -> str:
    """'Henry VIII', 'World War II'."""
    value = lex.ROMAN[match["numeral"]]
    said = f"the {ordinal(value)}" if match["word"] in lex.MONARCHS else cardinal(value)
    return f"{match['word']} {said}"


def abbreviation(match: re.Match[str]) -> str:
    """The word in full, with the full stop that also ended a sentence."""
    said = lex.ABBREVIATIONS.get(match[1].lower(), match[1])
    closing = match[1].lower() in lex.CLOSING_ABBREVIATIONS and _sentence_follows(match)
    return said + ("." if closing else "")


def saint_or_street(match: re.Match[str]) -> str:
    """'St.' before a name and elsewhere."""
    return "Saint " if match["name"] else "Street"
