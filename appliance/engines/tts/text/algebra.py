"""Algebra: functions, absolute values, powers with stars, and quotients of a variable."""

from __future__ import annotations

from appliance.engines.tts.text.rule import Match, Rules, rule

_VARIABLE = r"[a-z]"


def _function(match: Match) -> str:
    """'f(x)' -> 'f of x'."""
    return f"{match[1]} of {match[2]} "


# Before markup: "|" is also the border of a table, and "**" marks bold text.
STARS_AND_BARS: Rules = (
    rule(r"(?:(?<=\d)|(?<=\b[a-z])|(?<=\)))\*\*(?=\d)(?!\d+\*)", "^"),
    rule(
        rf"(?<![\w|])\|\s?(-?{_VARIABLE}(?:\s?[-−+]\s?\w)?|[-−]\d+(?:\.\d+)?)\s?\|(?=\s?[<>=≤≥])",
        r"the absolute value of \1 ",
    ),
)
# Before comparisons and signs, while the operators still show what is algebra.
ALGEBRA: Rules = (
    rule(
        rf"\b([fghFGHPE])\(({_VARIABLE}|[A-Z]|-?\d{{1,3}})\)(?=\s?[=<>≤≥+−]|[\s.,;:?!]|$)",
        _function,
    ),
    # "1/x", "(a+b)/2", "2/(x+1)"; "a/b testing" and "3/d" are none
    rule(
        r"(?<=\d)\s?/\s?(?=[xyzn]\b(?!-))|(?<=[a-z\d]\))\s?/\s?(?=\d|[xyzn]\b|\()|(?<=\d)/(?=\()",
        " over ",
    ),
    # the sign after a term with a variable: "3x - 4", "x^2 - 1"
    rule(
        r"(?<![\w.])(\d*[xyzn](?:\^\d)?)\s[-–]\s(?=\d*[a-z]?\b[^,;]{0,20}(?:=|<|>|≤|≥|\?|$))",
        r"\1 − ",
    ),
)
