"""Patterns and replacements, in one table per stage of `normalize`.

The rules of a table are applied in order, so specific rules precede general ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from appliance.engines.tts.text import lexicon as lex
from appliance.engines.tts.text import readings as read
from appliance.engines.tts.text.readings import digits, fraction, ordinal

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_MONTHS = "|".join([*lex.MONTHS, *(m[:3] for m in lex.MONTHS), "Sept"])
_TOP_LEVELS = "com|org|net|edu|gov|io|ai|dev|app|co|uk|de|fr|eu|us|ca|info|me|tv|ch|at|nl|local"


def _rule(pattern: str, to: str | Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    return re.compile(pattern, flags), to


def _any_of(words: object) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))  # type: ignore[call-overload]


MARKUP: tuple[Rule, ...] = (
    _rule(r"```[\w+-]*", " "),
    _rule(r"!?\[([^\[\]\n]*)\]\(([^()\s]|\([^()\s]*\))*(?:\s\"[^\"]*\")?\)", r"\1"),
    _rule(r"</?[A-Za-z][^<>\n]{0,80}>", " "),
    _rule(r"&(?:nbsp|#160);", " "),
    _rule(r"&amp;", "&"),
    _rule(r"^ ?(?:[-*_] ?){3,100}$", " ", re.M),
    _rule(r"^[ |:-]{0,200}-{3}[ |:-]{0,200}$\n?", "", re.M),  # line under a table header
    _rule(r"^ ?#{1,6} ", "", re.M),
    _rule(r"^ ?>+ ?", "", re.M),
    _rule(r"^ ?[-*+•] (?:\[[ xX]\] )?", "", re.M),
    _rule(r"(?<!\w)([*_~]{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2", re.S),
    _rule(r"`+", ""),
    _rule(r"\*{2,}|~~|(?<!\w)_+|_+(?!\w)", ""),
    _rule(r"\s*\|\s*", ", "),
    _rule(r"(?<!\w)(?:[:;=8][-o']?[)(\]\[dDpPoO/|]|<3|\^_\^|:'\()(?!\w)", " "),
)

ADDRESSES: tuple[Rule, ...] = (
    _rule(
        r"\b(?:https?|ftp)://(?:www\.)?(?P<host>[^\s/?#<>\"')]+)(?P<path>[/?#][^\s<>\"]*)?",
        read.link,
        re.I,
    ),
    _rule(r"([\w.+-]+)@((?:[\w-]+\.)+\w+)", read.email),
    _rule(r"\bwww\.(?P<host>[\w.-]+\w)(?P<path>/[^\s<>\"]*)?", read.link, re.I),
    _rule(
        rf"\b(?P<host>(?:[A-Za-z0-9-]+\.)+(?:{_TOP_LEVELS}))(?![\w.]\w)(?P<path>/[^\s<>\"]*)?",
        read.link,
    ),
)

BRITISH_DATES: tuple[Rule, ...] = (
    _rule(r"\b(\d{1,2})[/.](\d{1,2})[/.](\d{4}|\d{2})\b(?![./\d])", read.numeric_date(True)),
)
AMERICAN_DATES: tuple[Rule, ...] = (
    _rule(r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b(?![/\d])", read.numeric_date(False)),
)

QUANTITIES: tuple[Rule, ...] = (
    _rule(r"\b(\d{4})-(\d{2})-(\d{2})\b", read.iso_date),
    _rule(
        r"(?<![\d:.])(?P<hour>\d{1,2})[:.](?P<minute>\d{2})\s?(?P<am_pm>[ap]\.?\s?m\b\.?)",
        read.time,
        re.I,
    ),
    _rule(r"(?<![\d:.])(?P<hour>\d{1,2})(?P<minute>)\s?(?P<am_pm>[ap]\.?m\b\.?)", read.time, re.I),
    _rule(
        r"(?<![\d:.])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?P<am_pm>)(?![\d:]|\.\d)",
        read.time,
    ),
    _rule(
        rf"\b(?P<month>{_MONTHS})\b\.?\s(?P<day>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\b(?![:%]|[.,]\d)",
        read.month_then_day,
    ),
    _rule(
        rf"\b(?P<day>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s(?:of\s)?(?P<month>{_MONTHS})\b\.?",
        read.day_then_month,
    ),
    _rule(r"(?<!\w)['’]?(\d\d)?(\d0)['’]?s\b", read.decade),
    _rule(r"\+\d{1,3}[\s.-]?(?:\(\d+\)|\d+)(?:[\s.-]\d+)+", read.phone),
    _rule(r"\(\d{3}\)\s?\d{3}-\d{4}\b|\b(?:\d{3}-)?\d{3}-\d{4}\b", read.phone),
    _rule(r"(?<=[$£€])\.(?=\d)", "0."),
    _rule(
        rf"(?P<minus>(?<!\w)[-−])?(?:(?P<sign>US\$|[$£€¥₹₩₽₿])\s?(?P<amount>{_NUMBER})"
        r"(?P<scale>\s?(?:k|m|bn|b|thousand|million|billion|trillion)\b)?"
        rf"|\b(?P<amount2>{_NUMBER})(?P<scale2>\s(?:thousand|million|billion|trillion))?"
        r"\s?(?P<sign2>[£€¥₹₩₽₿]|(?:USD|EUR|GBP|JPY|CHF)\b))",
        read.money,
        re.I,
    ),
    _rule(
        rf"(?P<minus>(?<!\w)[-−])?(?<![\w.,])(?P<number>{_NUMBER})[\s-]?(?P<unit>{_any_of(lex.UNITS)})"
        r"(?![\w/²³])",
        read.measure,
    ),
    _rule(rf"({_NUMBER})\s?%", lambda m: f"{read.quantity(m[1])} percent "),
    _rule(r"\b24/7\b", "twenty-four seven"),
    _rule(r"(\d)['′](\d{1,2})(?:\"|″|'')?(?!\w)", r"\1 foot \2"),
    _rule(r"(?<![\d:])(\d{1,2}):(\d{2}):(\d{2})(?![\d:])", r"\1 \2 \3"),
    _rule(r"(?<=\d\d)K\b", " thousand"),
    _rule(r"(?<=[A-Za-z])-(?=\d)", " "),
    _rule(r"(\d+)\s?⁄\s?(\d+)", lambda m: f" {fraction(m[1], m[2])} "),
    _rule(r"(?<![\w/.])(\d{1,3})/(\d{1,3})(?![\w/])", lambda m: fraction(m[1], m[2])),
    _rule(
        r"(?<![\w.])(\d+(?:,\d{3})*)(?:st|nd|rd|th)\b",
        lambda m: ordinal(read.without_separators(m[1])),
    ),
    _rule(rf"(?<=\d)\s?[–—−]\s?(?={_NUMBER})|(?<=\d)-(?=\d)", " to "),
    _rule(rf"(?:#|\b[Nn]o\.)\s?(?={_NUMBER})", "number "),
    _rule(r"\b\d+(?:\.\d+){2,}\b", read.dotted),
    _rule(r"\b[vV](?=\d)", "version "),
    _rule(rf"(?<![\w)])[-−](?=[.]?{_NUMBER})", "minus "),
    _rule(rf"[~≈]\s?(?={_NUMBER})", "about "),
    _rule(r"(?<![\d.])\.(\d+)", lambda m: f"point {digits(m[1])}"),
    _rule(rf"(?<=\d)\s?[x×]\s?(?={_NUMBER}\b)", " times "),
    _rule(_NUMBER, read.number),
)

ABBREVIATIONS: tuple[Rule, ...] = (
    _rule(rf"\b(?P<word>{_any_of(lex.COUNTED | lex.MONARCHS)}) (?P<numeral>[IVX]+)\b", read.roman),
    _rule(r"\bSt\.(?P<name>\s+(?=[A-Z]))?", read.saint_or_street),
    _rule(rf"(?<![\w.])({_any_of(lex.ABBREVIATIONS)})\.(?!\w)", read.abbreviation, re.I),
    _rule(rf"(?<!\w)({_any_of(lex.WRITTEN)})(?!\w)", lambda m: lex.WRITTEN[m[1]]),
    _rule(r"\bw/o\b", "without"),
    _rule(r"\bw/(?=\s|\w)", "with "),
)

SYMBOLS: tuple[Rule, ...] = (
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

TIDY: tuple[Rule, ...] = (
    _rule(r"(?<=[\w)'\"])[^\S\n]*\n\s*", ", "),  # read a line break as a pause
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
