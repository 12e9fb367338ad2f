"""Signs at a number: comparisons, signs and arithmetic. None of them is ever dropped.

The signs become words while the numbers are still digits, so that the rules for money and measures
find "minus 5 mg" and "less than 5 mg" with the same patterns as "5 mg".
"""

from __future__ import annotations

import re

from appliance.engines.tts.text.fractions import PRESSURE_BEFORE
from appliance.engines.tts.text.numbers import NUMBER, NUMBER_START, SCIENTIFIC, amount, exponent
from appliance.engines.tts.text.rule import Match, Rules, any_of, rule
from appliance.engines.tts.text.units import UNIT

_COMPARISONS = {
    "<=": "less than or equal to",
    ">=": "greater than or equal to",
    "=<": "less than or equal to",
    "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "<<": "much less than",
    ">>": "much greater than",
    "≪": "much less than",
    "≫": "much greater than",
    "<": "less than",
    ">": "greater than",
    "!=": "is not equal to",
    "≠": "is not equal to",
    "==": "equals",
    "≈": "about",
    "≅": "about",
    "≃": "about",
    "~": "about",
    "±": "plus or minus",
    "+/-": "plus or minus",
    "∓": "minus or plus",
}
_OPERAND = r"(?:[-−+]?\s?[$£€¥]?\s?\.?\d)"  # the beginning of an amount
_LEFT = r"(?<=[\w)\]%\"°])"

_MEASURE_BEFORE = re.compile(rf"\d\s?(?:{UNIT})?\s$")
_LONGEST_MEASURE_CHARS = 20


def _minus(match: Match) -> str:
    """Read a sign as minus, unless an amount stands before it: "5 mg -10 mg" is a range.

    After a fraction it is a sign, too: the vision is "20/30 -2".
    """
    before = match.string[max(match.start() - _LONGEST_MEASURE_CHARS, 0) : match.start()]
    is_range = _MEASURE_BEFORE.search(before) and not re.search(r"\d/\d+\s$", before)
    return match[0] if is_range else " minus "


def _spaced_slash(match: Match) -> str:
    is_pressure = PRESSURE_BEFORE.search(match.string[: match.start()].rstrip("0123456789"))
    return "/" if is_pressure else " divided by "


# Before dates, times and codes: "~5 pm" is about five, "<1:100" is less than one to a hundred.
COMPARISONS: Rules = (
    rule(r"=>|->|-->|→|⇒|➜", " to "),
    rule(r"\+/[-−–]", " ± "),
    # a result: "test (+)", "Rh (−)"
    rule(r"\(\+\)", " positive "),
    rule(r"\([-−–]\)", " negative "),
    rule(r"(?<=[\w\d])@(?=\d)", " at "),
    rule(r"(?<=\d)/(?=[-−+]\.?\d)", " slash "),
    # a range whose second end has a sign of its own: "5–<10 mg"
    rule(r"(?<=[\w%])\s?[–—]\s?(?=[<>≤≥~≈])|(?<=\d)\s?-\s?(?=[<≤≥~≈]|>=)", " to "),
    rule(r"(?<=\d)\s?÷\s?(?=[\d(])|(?<=\d)(?<![-−+×*=]\s\d)/(?=\d+\s?=)", " divided by "),
    rule(r"(?<=\d)\s/\s(?=\d)", _spaced_slash),
    rule(r"√\s?\(?(?=\d)", " the square root of "),
    rule(r"∛\s?\(?(?=\d)", " the cube root of "),
    # "a ± b" and every comparison, with or without spaces, at a number or between two words
    rule(
        rf"\s?({any_of(sign for sign in _COMPARISONS if sign not in ('<', '>', '~'))})\s?",
        lambda m: f" {_COMPARISONS[m[1]]} ",
    ),
    rule(r"(?<!\w)~(?=[A-Z][a-z])", "about "),
    rule(rf"\s?([<>~])\s?(?={_OPERAND})", lambda m: f" {_COMPARISONS[m[1]]} "),
    rule(
        r"(?<=\d)\s?([<>])\s?(?=\w)|(?<=[\w)])\s([<>])\s(?=\w)",
        lambda m: f" {_COMPARISONS[m[1] or m[2]]} ",
    ),
    rule(r"(?<=\b[A-Za-z])([<>])(?=[A-Za-z]\b)", lambda m: f" {_COMPARISONS[m[1]]} "),
    rule(rf"{_LEFT}\s?=\s?(?=[\w(+−-])|(?:^|(?<=\s))=\s?(?=\d)", " equals "),
)
SIGNS: Rules = (
    # sums: a minus sign, or a hyphen or dash before "=" or between spaced numbers
    rule(r"(?<=[\d)])\s?[-−–]\s?(?=[\d.]+\s?(?:equals\b|=))", " minus "),
    rule(r"(?<=\d)\s−\s(?=\d)", " minus "),
    rule(r"(?<=[\w)])(?:\s−\s|−)(?=[A-Za-zΔ(])|(?<=\w[)])(?:\s−\s|−)(?=\d)", " minus "),
    rule(r"(\^\d+)\s?[-−]\s?(?=\d)", r"\1 minus "),
    rule(r"(?<=\w)\+\+(?!\w)", " plus plus "),
    rule(r"(?<=[\w)])\s?\+\s?(?=[\w(.])", " plus "),
    rule(r"(?<![\w)\]%°^])\+\s?(?=\.?\d|[$£€])", " plus "),
    rule(r"(?<=[\w%°″])\+(?!\w)", " plus "),
    # a minus sign after a letter or number: an ion, a mark, a cut "−"
    rule(r"(?<=\w)−(?!\w)", " minus "),
    rule(r"(?<![\w)\]%°^\"″])(?:[-–]|−\s?)(?=\.?\d|[$£€]\.?\d)", _minus),
    rule(r"\s{2,}(?=minus |plus )", " "),
)
# After the measures: a product or a power that belongs to no unit.
ARITHMETIC: Rules = (
    rule(rf"{NUMBER_START}(?:{SCIENTIFIC})", lambda m: amount(m[0])),
    rule(r"(?<=[\d)])\s?[×·*]\s?(?=[\d(.])|(?<=\d)\sx\s(?=\d)", " times "),
    rule(r"(?<=\d)x(?=\d)", " by "),
    # "3x daily", but "3x + 2" is algebra
    rule(
        rf"(?<!\w)(?<!equals )({NUMBER})\s?[x×]"
        r"(?!\w|\s(?:plus|minus|equals|times|is|less|greater)\b)",
        r"\1 times ",
    ),
    rule(r"×(?=\d)", " times "),
    rule(
        r"(?<=\w)\^([-+]?\d+)",
        lambda m: f" {'cubed' if m[1] == '3' else exponent(m[1])}",
    ),
)
