"""Turns what a language model writes into what a person would say.

Markup and emoji are left out; addresses, times, dates, money, measures, abbreviations and numbers
become words. Words themselves are left to the G2P, which knows homographs and acronyms; of numbers
it gets none, because it joins them wrongly with symbols ("50%" after a price became "fifty pounds
percent"). Whatever the text, nothing is raised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from appliance.kokoro import lexicon as lex
from appliance.kokoro.numerals import (
    cardinal,
    clock,
    decimal,
    digits,
    fraction,
    month_day,
    ordinal,
    year,
)

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
# Some rules take time that grows with the square of the length; no phrase of a reply is this long.
_PIECE = re.compile(r"\S.{0,400}(?=\s|$)|\S{1,400}", re.DOTALL)
_MONTHS = "|".join([*lex.MONTHS, *(m[:3] for m in lex.MONTHS), "Sept"])
_TOP_LEVELS = "com|org|net|edu|gov|io|ai|dev|app|co|uk|de|fr|eu|us|ca|info|me|tv|ch|at|nl|local"


def normalize(text: str, british: bool = False) -> str:
    """Words to be spoken, with the punctuation that shapes them; '' if there are none.

    `british` reads 3/4/2024 as the third of April.
    """
    text = re.sub(r"[^\S\n]*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", _characters(text)))
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    said = " ".join(_say(piece, british) for piece in _PIECE.findall(text))
    for pattern, replacement in _TIDY:
        said = pattern.sub(replacement, said)
    return said.strip() if any(map(str.isalnum, said)) else ""


def _say(text: str, british: bool) -> str:
    dates = _BRITISH_DATES if british else _AMERICAN_DATES
    for pattern, replacement in (*_ADDRESSES, *dates, *_QUANTITIES, *_ABBREVIATIONS, *_SYMBOLS):
        text = pattern.sub(replacement, text)
    return _only_latin(text)


def _rule(pattern: str, to: str | Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    return re.compile(pattern, flags), to


def _characters(text: str) -> str:
    """One spelling of every character: no controls, ligatures, full-width or styled letters."""
    text = text.translate(lex.CHARACTERS)
    kept = []
    for char in text:
        if char in lex.KEEP:
            kept.append(char)
            continue
        plain = unicodedata.normalize("NFKC", char)
        kept.append(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else plain)
    return unicodedata.normalize("NFC", "".join(kept))


def _only_latin(text: str) -> str:
    """Leaves out emoji, pictures and letters that an English voice has no sound for."""
    kept = []
    for char in text:
        if char.isalpha():
            latin = "LATIN" in unicodedata.name(char, "") and ord(char) < 0x2B0
            kept.append(char if latin else " ")
        elif char in lex.SPOKEN_PUNCTUATION or char.isspace():
            kept.append(char)
        elif unicodedata.category(char) in ("Mn", "Cf", "Cs", "Co"):
            continue
        else:
            kept.append(" ")
    return "".join(kept)


def _bare(text: str) -> str:
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


def _link(match: re.Match[str]) -> str:
    """A web address: host, then at most three short parts of the path; never the query."""
    host, path = match["host"], match["path"] or ""
    path, stop = re.fullmatch(r"(.*?)([.,;:!?)]*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
    path = re.split(r"[?#]", path)[0].rstrip("/")
    parts = [part for part in path.split("/") if part]
    said = _address_words(host)
    if len(parts) <= 3 and all(len(part) <= 24 for part in parts):
        said += "".join(f" slash {_address_words(part)}" for part in parts)
    return f" {said}{stop.replace(')', '')} "


def _email(match: re.Match[str]) -> str:
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


def _quantity(text: str) -> str:
    """An integer or decimal number with thousands separators, as an amount."""
    whole, _, part = text.partition(".")
    return decimal(_bare(whole), part) if part else cardinal(_bare(whole))


def _number(match: re.Match[str]) -> str:
    """Any number that is left, set apart from letters beside it."""
    text = match.group()
    said = _quantity(text) if "," in text or "." in text else _plain_number(text)
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    return f"{' ' * before.isalnum()}{said}{' ' * after.isalnum()}"


def _money(match: re.Match[str]) -> str:
    symbol = match["sign"] or match["sign2"]
    amount = match["amount"] or match["amount2"]
    scale = lex.SCALES.get((match["scale"] or match["scale2"] or "").strip().lower(), "")
    one, many, cent, cents = lex.CURRENCIES.get(symbol.upper(), ("", "", "", ""))
    minus = "minus " if match["minus"] else ""
    whole, _, part = amount.partition(".")
    if scale or (part and len(part) != 2) or not cent:
        single = amount == "1" and not scale
        return f" {minus}{_quantity(amount)} {scale} {one if single else many} "
    pounds, pence = _bare(whole).lstrip("0"), part.lstrip("0")
    said = []
    if pounds or not pence:
        said.append(f"{cardinal(pounds or 0)} {one if pounds == '1' else many}")
    if pence:
        said.append(f"{cardinal(pence)} {cent if pence == '1' else cents}")
    return f" {minus}{' and '.join(said)} "


def _measure(match: re.Match[str]) -> str:
    minus = "minus " if match["minus"] else ""
    one, many = lex.UNITS[match["unit"]]
    unit = one if match["number"] == "1" else many
    return f" {minus}{_quantity(match['number'])} {unit} "


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    if hour > 24 or minute > 59:
        return match.group()
    suffix = f" {half[0].upper()}M" if half else ""
    stop = "." if half and match.group().endswith(".") and _sentence_follows(match) else ""
    return f" {clock(hour, minute, bool(half))}{suffix}{stop} "


def _sentence_follows(match: re.Match[str]) -> bool:
    rest = match.string[match.end() :].lstrip()
    return not rest or rest[0].isupper()


def _date_numbers(british: bool) -> Callable[[re.Match[str]], str]:
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


def _iso_date(match: re.Match[str]) -> str:
    of, month, day = int(match[1]), int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    return f" {month_day(month, day)}, {year(of)} "


def _month(match: re.Match[str]) -> str:
    name = lex.month(match["month"])
    return f"{name} {ordinal(int(match['day']))}"


def _day_month(match: re.Match[str]) -> str:
    return f"{ordinal(int(match['day']))} of {lex.month(match['month'])}"


def _decade(match: re.Match[str]) -> str:
    return lex.DECADES.get(match[2], match[2]) if not match[1] else _century(match)


def _century(match: re.Match[str]) -> str:
    plural = lex.DECADES.get(match[2])
    if match[2] == "00":
        return f"{cardinal(int(match[1]))} hundreds" if match[1] != "20" else "two thousands"
    return f"{cardinal(int(match[1]))} {plural}" if plural else match.group()


def _phone(match: re.Match[str]) -> str:
    """A number with groups: the digits, with a short pause between the groups."""
    groups = re.findall(r"\d+", match.group())
    plus = "plus " if match.group().startswith("+") else ""
    return f" {plus}{', '.join(digits(group) for group in groups)} "


def _dotted(match: re.Match[str]) -> str:
    """A version or network address: 1.2.3."""
    return " point ".join(_plain_number(p) for p in match.group().split("."))


def _roman(match: re.Match[str]) -> str:
    number = lex.ROMAN[match["numeral"]]
    said = f"the {ordinal(number)}" if match["word"] in lex.MONARCHS else cardinal(number)
    return f"{match['word']} {said}"


def _abbreviation(match: re.Match[str]) -> str:
    said = lex.ABBREVIATIONS.get(match[1].lower(), match[1])
    closing = match[1].lower() in lex.CLOSING_ABBREVIATIONS and _sentence_follows(match)
    return said + ("." if closing else "")


def _saint_or_street(match: re.Match[str]) -> str:
    return "Saint " if match["name"] else "Street"


def _any_of(words: object) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))  # type: ignore[call-overload]


_MARKUP: tuple[Rule, ...] = (
    _rule(r"```[\w+-]*", " "),
    _rule(r"!?\[([^\[\]\n]*)\]\(([^()\s]|\([^()\s]*\))*(?:\s\"[^\"]*\")?\)", r"\1"),
    _rule(r"</?[A-Za-z][^<>\n]{0,80}>", " "),
    _rule(r"&(?:nbsp|#160);", " "),
    _rule(r"&amp;", "&"),
    _rule(r"^ ?(?:[-*_] ?){3,100}$", " ", re.M),
    _rule(r"^[ |:-]{0,200}-{3}[ |:-]{0,200}$\n?", "", re.M),  # the rule under a table's head
    _rule(r"^ ?#{1,6} ", "", re.M),
    _rule(r"^ ?>+ ?", "", re.M),
    _rule(r"^ ?[-*+•] (?:\[[ xX]\] )?", "", re.M),
    _rule(r"(?<!\w)([*_~]{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2", re.S),
    _rule(r"`+", ""),
    _rule(r"\*{2,}|~~|(?<!\w)_+|_+(?!\w)", ""),
    _rule(r"\s*\|\s*", ", "),
    _rule(r"(?<!\w)(?:[:;=8][-o']?[)(\]\[dDpPoO/|]|<3|\^_\^|:'\()(?!\w)", " "),
)

_ADDRESSES: tuple[Rule, ...] = (
    _rule(
        r"\b(?:https?|ftp)://(?:www\.)?(?P<host>[^\s/?#<>\"')]+)(?P<path>[/?#][^\s<>\"]*)?",
        _link,
        re.I,
    ),
    _rule(r"([\w.+-]+)@((?:[\w-]+\.)+\w+)", _email),
    _rule(r"\bwww\.(?P<host>[\w.-]+\w)(?P<path>/[^\s<>\"]*)?", _link, re.I),
    _rule(
        rf"\b(?P<host>(?:[A-Za-z0-9-]+\.)+(?:{_TOP_LEVELS}))(?![\w.]\w)(?P<path>/[^\s<>\"]*)?",
        _link,
    ),
)

_BRITISH_DATES: tuple[Rule, ...] = (
    _rule(r"\b(\d{1,2})[/.](\d{1,2})[/.](\d{4}|\d{2})\b(?![./\d])", _date_numbers(True)),
)
_AMERICAN_DATES: tuple[Rule, ...] = (
    _rule(r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b(?![/\d])", _date_numbers(False)),
)

_QUANTITIES: tuple[Rule, ...] = (
    _rule(r"\b(\d{4})-(\d{2})-(\d{2})\b", _iso_date),
    _rule(
        r"(?<![\d:.])(?P<hour>\d{1,2})[:.](?P<minute>\d{2})\s?(?P<half>[ap]\.?\s?m\b\.?)",
        _time,
        re.I,
    ),
    _rule(r"(?<![\d:.])(?P<hour>\d{1,2})(?P<minute>)\s?(?P<half>[ap]\.?m\b\.?)", _time, re.I),
    _rule(
        r"(?<![\d:.])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?P<half>)(?![\d:]|\.\d)", _time
    ),
    _rule(
        rf"\b(?P<month>{_MONTHS})\b\.?\s(?P<day>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\b(?![:%]|[.,]\d)",
        _month,
    ),
    _rule(
        rf"\b(?P<day>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s(?:of\s)?(?P<month>{_MONTHS})\b\.?",
        _day_month,
    ),
    _rule(r"(?<!\w)['’]?(\d\d)?(\d0)['’]?s\b", _decade),
    _rule(r"\+\d{1,3}[\s.-]?(?:\(\d+\)|\d+)(?:[\s.-]\d+)+", _phone),
    _rule(r"\(\d{3}\)\s?\d{3}-\d{4}\b|\b(?:\d{3}-)?\d{3}-\d{4}\b", _phone),
    _rule(r"(?<=[$£€])\.(?=\d)", "0."),
    _rule(
        rf"(?P<minus>(?<!\w)[-−])?(?:(?P<sign>US\$|[$£€¥₹₩₽₿])\s?(?P<amount>{_NUMBER})"
        r"(?P<scale>\s?(?:k|m|bn|b|thousand|million|billion|trillion)\b)?"
        rf"|\b(?P<amount2>{_NUMBER})(?P<scale2>\s(?:thousand|million|billion|trillion))?"
        r"\s?(?P<sign2>[£€¥₹₩₽₿]|(?:USD|EUR|GBP|JPY|CHF)\b))",
        _money,
        re.I,
    ),
    _rule(
        rf"(?P<minus>(?<!\w)[-−])?(?<![\w.,])(?P<number>{_NUMBER})[\s-]?(?P<unit>{_any_of(lex.UNITS)})"
        r"(?![\w/²³])",
        _measure,
    ),
    _rule(rf"({_NUMBER})\s?%", lambda m: f"{_quantity(m[1])} percent "),
    _rule(r"\b24/7\b", "twenty-four seven"),
    _rule(r"(\d)['′](\d{1,2})(?:\"|″|'')?(?!\w)", r"\1 foot \2"),
    _rule(r"(?<![\d:])(\d{1,2}):(\d{2}):(\d{2})(?![\d:])", r"\1 \2 \3"),
    _rule(r"(?<=\d\d)K\b", " thousand"),
    _rule(r"(?<=[A-Za-z])-(?=\d)", " "),
    _rule(r"(\d+)\s?⁄\s?(\d+)", lambda m: f" {fraction(m[1], m[2])} "),
    _rule(r"(?<![\w/.])(\d{1,3})/(\d{1,3})(?![\w/])", lambda m: fraction(m[1], m[2])),
    _rule(r"(?<![\w.])(\d+(?:,\d{3})*)(?:st|nd|rd|th)\b", lambda m: ordinal(_bare(m[1]))),
    _rule(rf"(?<=\d)\s?[–—−]\s?(?={_NUMBER})|(?<=\d)-(?=\d)", " to "),
    _rule(rf"(?:#|\b[Nn]o\.)\s?(?={_NUMBER})", "number "),
    _rule(r"\b\d+(?:\.\d+){2,}\b", _dotted),
    _rule(r"\b[vV](?=\d)", "version "),
    _rule(rf"(?<![\w)])[-−](?=[.]?{_NUMBER})", "minus "),
    _rule(rf"[~≈]\s?(?={_NUMBER})", "about "),
    _rule(r"(?<![\d.])\.(\d+)", lambda m: f"point {digits(m[1])}"),
    _rule(rf"(?<=\d)\s?[x×]\s?(?={_NUMBER}\b)", " times "),
    _rule(_NUMBER, _number),
)

_ABBREVIATIONS: tuple[Rule, ...] = (
    _rule(rf"\b(?P<word>{_any_of(lex.COUNTED | lex.MONARCHS)}) (?P<numeral>[IVX]+)\b", _roman),
    _rule(r"\bSt\.(?P<name>\s+(?=[A-Z]))?", _saint_or_street),
    _rule(rf"(?<![\w.])({_any_of(lex.ABBREVIATIONS)})\.(?!\w)", _abbreviation, re.I),
    _rule(rf"(?<!\w)({_any_of(lex.WRITTEN)})(?!\w)", lambda m: lex.WRITTEN[m[1]]),
    _rule(r"\bw/o\b", "without"),
    _rule(r"\bw/(?=\s|\w)", "with "),
)

_SYMBOLS: tuple[Rule, ...] = (
    _rule(r"(?<=\w)[_](?=\w)", " "),
    _rule(r"#(?=\w)", ""),
    _rule(r"@(?=\w)", "at "),
    _rule(_any_of(lex.SYMBOLS), lambda m: f" {lex.SYMBOLS[m.group()]} "),
    _rule(r"(?<=\s)<(?=\s)", "less than"),
    _rule(r"(?<=\s)>(?=\s)", "greater than"),
    _rule(r"(?<=\w)\s?/\s?(?=\w)", " "),
    _rule(r"\s[-–]{1,2}\s|--+", " — "),
    _rule(r"[\\^=<>{}\[\]|~*/#@+$]", " "),
)

_TIDY: tuple[Rule, ...] = (
    _rule(r"(?<=[\w)'\"])[^\S\n]*\n\s*", ", "),  # a line break is a pause
    _rule(r"\.{2,}", "…"),
    _rule(r"([!?])[!?]+", r"\1"),
    _rule(r"…+", "…"),
    _rule(r"\(\s*\)", " "),
    _rule(r"\s+", " "),
    _rule(r"\s+([,.;:!?…)])", r"\1"),
    _rule(r"([,;:])(?:\s*[,;:])+", r"\1"),
    _rule(r"[,;:]\s*([.!?…])", r"\1"),
    _rule(r"([.!?…])(?:\s*[.,;:])+(?=\s|$)", r"\1"),
    _rule(r"^[\s,.;:!?…)—-]+", ""),
)
