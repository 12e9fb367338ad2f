"""Ranges of bare numbers. Those of money, measures, times and dates are read by their own rules."""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import NUMBER, SCALE_WORD, label
from appliance.engines.tts.text.rule import Match, Rules, rule
from appliance.engines.tts.text.units import UNIT


def _same_number(match: Match) -> str:
    """'10a–10d' -> 'ten A to ten D'; "5m–10m" are measures."""
    number, first, again, last = match.groups()
    if again not in ("", number) or first >= last:
        return match[0]
    second = f"{label(again)} " if again else ""
    return f"{label(number)} {first.upper()} to {second}{last.upper()}"


def _letters(match: Match) -> str:
    """'12A–C' -> 'twelve A to C'; letters out of order are a code."""
    number, first, last = match.groups()
    if first >= last[-1]:
        return match[0]
    said = re.sub(r"\d+", lambda m: f"{label(m[0])} ", last)
    return f"{label(number) + ' ' if number else ''}{first} to {said}"


# A dash between a word and a number, or between words: before the rules for dates and times.
WORD_RANGES: Rules = (
    # signed ends with an ellipsis: "-10…-5 °C", "-40...+85"; "3… 2… 1…" is a countdown
    rule(
        rf"(?<![\w.])([-−+]{NUMBER}\s?(?:°[CF]|[A-Za-z%]{{0,3}}))\s?(?:…|\.{{2,3}})\s?(?=[-−+]?{NUMBER})"
        rf"|(?<![\w.])({NUMBER})(?:…|\.{{2,3}})(?=[-−+]{NUMBER}|{NUMBER}\s?(?:{UNIT}))",
        lambda m: f"{m[1] or m[2]} to ",
    ),
    # "Grades K–5", but "K-12" is the name of a kind of school
    rule(
        r"\b([A-Z])–(?=\d)|(?<=\b[Gg]rades )(K|[Pp]re-?K|PK)-(?=\d)",
        lambda m: f"{m[1] or m[2]} to ",
    ),
    rule(r"(?<=s )(\d{1,3})([a-z])[–-](\d{0,3})([a-z])\b", _same_number),
    # letters in the order of the alphabet, after a plural: "lines A–D", "seats 12A-C"
    rule(r"(?<=s )(\d{0,3})([A-Z])\s?[–-]\s?(\d{0,3}[A-Z])\b(?!-)", _letters),
    rule(r"(?<![\w-])([A-Z])–([A-Z])(?![\w-])", r"\1 to \2"),
    rule(r"(?<![\w-])(\d{1,3})([A-Z])–(\d{0,3}[A-Z])(?![\w-])", _letters),
    rule(r"(?<=[a-z] )()([A-Z])-([A-Z])(?=[.,;:!?)])", _letters),
    rule(r"\(([a-zA-Z])\)\s?[–-]\s?(?=\([a-zA-Z]\))", r"(\1) to "),
    rule(r"(?<=\d)\s?[–-]\s?(?=#\d)", " to "),
    rule(r"\b([A-Z]{1,3}-?\d+)–(?=[A-Z]{1,3}-?\d)", r"\1 to "),
    rule(r"(?<=\d)[kK]\s?[–-]\s?(?=\d+[kK]\b)", " thousand to "),
    rule(r"\b(noon|midnight)\s?[-–]\s?(?=\d)", r"\1 to "),
    rule(r"(?<=[aApP][mM])\s?[-–]\s?(?=(?:noon|midnight)\b)", " to "),
    rule(r"(?<=\ds)\s?[-–]\s?(?='?\d0s|\d{4}s)", " to "),
    rule(r"(?<=\d [a-z]{3}s)–(?=\d)|(?<=\d [a-z]{4}s)–(?=\d)|(?<=\d [a-z]{5}s)–(?=\d)", " to "),
)
RANGES: Rules = (
    rule(r"(?<=\d)(st|nd|rd|th)\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)", r"\1 to "),
    rule(
        rf"(?<=\d)\s?[–—]\s?(?=(?:minus )?{NUMBER})|(?<=\d)-(?=\d)|(?<=\d)\s-\s(?=\d)",
        " to ",
    ),
    rule(rf"\b({SCALE_WORD})\s?[-–—]\s?(?=(?:minus )?{NUMBER})", r"\1 to "),
    rule(r"(?<=\d)−(?=\d)", " minus "),
)
