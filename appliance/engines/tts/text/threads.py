"""Threads of screws: "1/4-20" is one quarter, twenty: the size, then the turns per inch."""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import cardinal, fraction, mixed
from appliance.engines.tts.text.rule import Match, Rules, rule, words

# Unified numbered sizes and their turns per inch (ASME B1.1).
_NUMBERED = frozenset(
    words(
        "0-80 1-64 1-72 2-56 2-64 3-48 3-56 4-40 4-48 5-40 5-44 6-32 6-40 8-32 8-36 10-24 10-32"
        " 12-24 12-28"
    )
)
_FASTENER = (
    r"(?:UN[CFR]|NPT|threads?|threaded|screws?|bolts?|taps?|nuts?|studs?|machine|hex|socket|cap"
    r"|set|carriage|lag|wing|lock|stainless|steel|rod|insert|hole|die|dies)\b"
)
_NEAR_AFTER = rf"(?=\s(?:[a-z]+\s)?{_FASTENER}|\s?[x×]\s?\d)"


def _numbered(match: Match) -> str:
    """'10-32 screw' -> 'ten, thirty-two screw', if there is such a thread."""
    if f"{match[2]}-{match[3]}" not in _NUMBERED:
        return match[0]
    sign = "number " if match[1] else ""
    return f"{sign}{cardinal(match[2])}, {cardinal(match[3])}{' by ' if match[4] else ''}"


def _inch(match: Match) -> str:
    """'3/8-16 bolt' -> 'three eighths, sixteen bolt'."""
    whole, top, bottom = match["whole"], match["top"], match["bottom"]
    size = mixed(whole, top, bottom) if whole else fraction(top, bottom)
    return f"{size}{' inch' if match['inch'] else ''}, {cardinal(match['turns'])}" + (
        " by " if match["by"] else ""
    )


def _metric(match: Match) -> str:
    """'M10×1.5×40' -> 'M10 by 1.5 by 40': the size, the pitch and the length in millimeters."""
    return " by ".join(re.split(r"\s?[x×]\s?", match[0]))


_BY = r"\s?[x×]\s?(?=\d)"
THREADS: Rules = (
    rule(r"\bM\d{1,2}(?:\.\d)?(?:\s?[x×]\s?\d+(?:\.\d+)?){1,2}(?![\w.]\d)", _metric),
    rule(rf"(?<![\w.,/-])(#)?(\d{{1,2}})-(\d{{2}})(?!\w){_NEAR_AFTER}({_BY})?", _numbered),
    rule(
        r"(?<![\w.,/-])(?:(?P<whole>\d)[ -])?(?P<top>\d{1,2})/(?P<bottom>2|4|8|16)(?P<inch>\"|″)?"
        rf"\s?-(?P<turns>\d{{1,2}})(?![\w/\"″.]){_NEAR_AFTER}(?P<by>{_BY})?",
        _inch,
    ),
)
