"""Ranges of bare numbers. Those of money, measures, times and dates are read by their own rules."""

from __future__ import annotations

from appliance.engines.tts.text.numbers import NUMBER, SCALE_WORD
from appliance.engines.tts.text.rule import Rules, rule

# A dash between a word and a number, or between words: before the rules for dates and times.
WORD_RANGES: Rules = (
    rule(r"\(([a-zA-Z])\)\s?[–-]\s?(?=\([a-zA-Z]\))", r"(\1) to "),
    rule(r"(?<=\d)\s?[–-]\s?(?=#\d)", " to "),
    rule(r"\b([A-Z]{1,3}-?\d+)–(?=[A-Z]{1,3}-?\d)", r"\1 to "),
    rule(r"\b(noon|midnight)\s?[-–]\s?(?=\d)", r"\1 to "),
    rule(r"(?<=[aApP][mM])\s?[-–]\s?(?=(?:noon|midnight)\b)", " to "),
    rule(r"(?<=\ds)\s?[-–]\s?(?='?\d0s|\d{4}s)", " to "),
    rule(r"(?<=\d [a-z]{3}s)–(?=\d)|(?<=\d [a-z]{4}s)–(?=\d)|(?<=\d [a-z]{5}s)–(?=\d)", " to "),
)
RANGES: Rules = (
    rule(r"(?<=\d)(st|nd|rd|th)\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)", r"\1 to "),
    rule(rf"(?<=\d)\s?[–—]\s?(?=(?:minus )?{NUMBER})|(?<=\d)-(?=\d)|(?<=\d)\s-\s(?=\d)", " to "),
    rule(rf"\b({SCALE_WORD})\s?[-–—]\s?(?=(?:minus )?{NUMBER})", r"\1 to "),
    rule(r"(?<=\d)−(?=\d)", " minus "),
)
