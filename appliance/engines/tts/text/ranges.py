"""Ranges of bare numbers. Ranges of money, measures, times and dates are read by their own rules."""

from __future__ import annotations

from appliance.engines.tts.text.numbers import NUMBER
from appliance.engines.tts.text.rule import Rules, rule

RANGES: Rules = (
    rule(r"(?<=\d)(st|nd|rd|th)\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)", r"\1 to "),
    rule(rf"(?<=\d)\s?[–—]\s?(?=(?:minus )?{NUMBER})|(?<=\d)-(?=\d)|(?<=\d)\s-\s(?=\d)", " to "),
    rule(r"(?<=\d)−(?=\d)", " minus "),
)
