"""A slash or a colon between numbers: fractions, scores, ratios and blood pressure.

"3/4" is three quarters, "7/10" seven out of ten, "90/60" ninety over sixty, "50/50" fifty fifty,
"1:1,000" one to one thousand.
"""

from __future__ import annotations

import re

from appliance.engines.tts.text.numbers import (
    AMOUNT,
    NUMBER_START,
    amount,
    cardinal,
    fraction,
    mixed,
    quantity,
)
from appliance.engines.tts.text.rule import Match, Rules, rule

# Denominators of the fractions that people say; n/10 and n/100 are scores.
_DENOMINATORS = frozenset((2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 32, 64))
# Two scores of a newborn: "Apgar 8/9" is eight and nine.
_TWO_SCORES_BEFORE = re.compile(
    r"\bapgars?(?:\s(?:scores?|is|was|of|at|were|are|now))*:?\s$", re.IGNORECASE
)
_PAIRS = frozenset(((9, 11), (50, 50), (20, 20), (60, 40), (80, 20), (70, 30)))
_VISION = frozenset((10, 12, 15, 16, 20, 25, 30, 40, 50, 60, 70, 80, 100, 200, 400))
_PROPORTION_AFTER = re.compile(
    r"\s(?:of\b(?! the (?:points|marks))|inch|mile|cup|teaspoon|tablespoon|pound|ounce|tablet|pint"
    r"|full|empty|done|way|day|hour|size|scale)"
)
_SCORE_AFTER = re.compile(
    r"\s(?:stars?|points?|marks?|correct|right|strength|pain|score|power|on the|patients|people"
    r"|cases|votes|times|tests|attempts|questions|samples|(?:systolic |diastolic )?murmurs?|edema"
    r"|reflexes|motor|grade|found|passed|failed|positive|negative|voted|agreed|complete|done)\b"
)
SCORE_BEFORE = re.compile(
    r"\b(?:score[sd]?|rate[sd]?|rating|pain|gcs|apgar|grade[sd]?|strength|power|quiz|exam|test)"
    r"(?:\s(?:is|was|of|at|it|a|as|now|were|about|got|level))*\s$",
    re.I,
)
PRESSURE_BEFORE = re.compile(r"\b(?:bp|blood pressure|pressure|systolic)\b[^.;!?\d]{0,25}$", re.I)
# The strengths of a combined drug: "Co-codamol 8/500" is eight slash five hundred, which cannot be
# taken for another number ("thirty five hundred") or for a quotient.
_DRUG_BEFORE = re.compile(
    r"\b(?!(?:Only|About|Some|Nearly|Over|The|In|At)\s)[A-Z][a-z]+(?:-[a-z]+)*\s$"
)
_RATIO_NEAR = re.compile(
    r"\b(?:ratios?|odds|dilut\w+|proportions?|titers?|scale|mix(?:ed|ture)?|concentration"
    r"|epinephrine|adrenaline|solution|bleach|resin)\b",
    re.I,
)
_VERSE_BEFORE = re.compile(
    r"\b(?:Genesis|Exodus|Psalms?|Proverbs|Isaiah|Matthew|Mark|Luke|John|Acts|Romans|Corinthians"
    r"|Galatians|Ephesians|Hebrews|James|Peter|Revelation|verse|surah)\s$"
)
_RATIO_WINDOW_CHARS = 40
_STREET = "Street|Road|Avenue|Lane|Drive|Court|Place|Terrace|Square|Crescent|Way"


def _slash(match: Match) -> str:
    top, bottom = int(match[1]), int(match[2])
    before, after = match.string[: match.start()], match.string[match.end() :]
    if _TWO_SCORES_BEFORE.search(before) and bottom < 10:
        return f"{cardinal(top)} and {cardinal(bottom)}"
    if PRESSURE_BEFORE.search(before):
        return f"{cardinal(top)} over {cardinal(bottom)}"
    is_rhythm = bool(re.match(r"\stime\b", after)) and bottom in (4, 8)
    if (top, bottom) in _PAIRS or is_rhythm:
        return f"{cardinal(top)} {cardinal(bottom)}"
    if top == 20 and bottom in _VISION:
        return f"twenty {cardinal(bottom)}"
    if _SCORE_AFTER.match(after) or (SCORE_BEFORE.search(before) and top <= bottom):
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    is_large = bottom >= 100 or (top >= 100 and bottom >= 25)
    if top > 1 and is_large and _DRUG_BEFORE.search(before):
        return f"{cardinal(top)} slash {cardinal(bottom)}"
    is_part = bool(_PROPORTION_AFTER.match(after)) or after[:1] == "-"
    if top == bottom:
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    if top > bottom and not (bottom in _DENOMINATORS and bottom <= 8 and (is_part or bottom == 2)):
        return f"{cardinal(top)} over {cardinal(bottom)}"
    if bottom in _DENOMINATORS or top == 1 or is_part:
        return fraction(match[1], match[2])
    return f"{cardinal(top)} out of {cardinal(bottom)}"


def _mixed(match: Match) -> str:
    if int(match[2]) >= int(match[3]) or not 2 <= int(match[3]) <= 100:
        return match[0]
    return mixed(match[1], match[2], match[3])


def _colon(match: Match) -> str:
    """Read '4:1' and '1:1,000' as ratios.

    '1:10' may be a time: it is a ratio only near a word for a ratio.
    """
    looks_like_time = re.fullmatch(r"\d{1,2}:[0-5]\d(?:\.\d+)?", match[0])
    if _VERSE_BEFORE.search(match.string, 0, match.start()):
        return " ".join(cardinal(part) for part in match[0].split(":"))
    start, end = match.start() - _RATIO_WINDOW_CHARS, match.end() + _RATIO_WINDOW_CHARS
    if looks_like_time and not _RATIO_NEAR.search(match.string[max(start, 0) : end]):
        return match[0]
    return " to ".join(quantity(part) for part in match[0].split(":"))


# Before the rules for times.
RATIOS: Rules = (
    rule(r"(?<=\d)\s:\s(?=\d)", " to "),
    rule(
        r"(?<![\w:.,-])\d+(?:,\d{3})*(?:\.\d+)?(?::\d+(?:,\d{3})*(?:\.\d+)?){1,3}"
        r"(?![\w:,]*[\d:])(?!\s?[ap]\.?m\b|-[a-z])",
        lambda m: m[0] if m[0].count(":") > 1 and re.search(r":\d\d", m[0]) else _colon(m),
    ),
)
_SEPARATOR = r"(?:\s?[–—]\s?|\s-\s|-(?=\d+ \d+/))"
# Before the bare ranges: the hyphen in "1-1/2" joins, the one in "1/2-1" is a range.
MIXED: Rules = (
    rule(
        rf"{NUMBER_START}({AMOUNT}){_SEPARATOR}({AMOUNT})",
        lambda m: f"{amount(m[1])} to {amount(m[2])}" if "/" in m[0] else m[0],
    ),
    rule(r"(?<![\w/.,])(\d{1,3})[ -](\d{1,2})/(\d{1,3})(?![\w/])", _mixed),
)
FRACTIONS: Rules = (
    # two houses: "7/9 Quay Road"
    rule(
        rf"(?<![\w/.,])(?<!\d\s)(\d+)/(\d+)(?=\s[A-Z][a-z]+\s(?:{_STREET})\b)",
        lambda m: m[0] if m[0] == "1/2" else f"{cardinal(m[1])} slash {cardinal(m[2])}",
    ),
    rule(
        r"(?<![\w/.,])(\d+\.\d+)/(\d{1,3})(?![\w/]|\.\d)",
        lambda m: f"{quantity(m[1])} out of {cardinal(m[2])}",
    ),
    # three or more numbers are a list: "Apgar 7/9/10"
    rule(
        r"(?<![\w/.,])\d+(?:/\d+){2,}(?![\w/])",
        lambda m: ", ".join(cardinal(part) for part in m[0].split("/")),
    ),
    rule(r"(?<![\w/.])1/2(?=\san?\s)", "half"),
    rule(r"(?<![\w/.])(\d{1,2})/(\d{1,3})(?:st|nd|rd|th)s?\b", lambda m: fraction(m[1], m[2])),
    rule(r"(?<![\w/.])(\d{1,3})/(\d{1,3})(?![\w/]|\.\d)", _slash),
    rule(r"(?<=\d)/(?=\d)", " over "),
)
