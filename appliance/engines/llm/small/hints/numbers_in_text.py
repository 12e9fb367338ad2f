"""Finds the numbers of a text, in words or figures, and writes results. No I/O.

    "Fifty-two and 1,200" -> "# and #", [52, 1200]

English, as `llm.language`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_ONES_TEXT: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
ONES: Final = tuple(_ONES_TEXT.split())
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES: Final = {"thousand": 1_000, "million": 1_000_000}

# A number below one thousand in words, then the grammar of larger ones and of decimals.
_ONE = "|".join(sorted(ONES, key=len, reverse=True))
_BELOW_HUNDRED = rf"(?:(?:{'|'.join(_TENS)})(?: (?:{'|'.join(ONES[1:10])})\b)?|{_ONE})"
_BELOW_THOUSAND = (
    rf"(?:(?:(?:{_ONE}|a) )?hundred(?: (?:and )?{_BELOW_HUNDRED}\b)?|{_BELOW_HUNDRED})"
)
_IN_WORDS = (
    rf"(?:(?:{_BELOW_THOUSAND}|a) (?:thousand|million)(?:,? (?:and )?{_BELOW_THOUSAND}\b)?"
    rf"|{_BELOW_THOUSAND})(?: point(?: (?:{'|'.join(ONES[:10])}))+)?"
)
NUMBER: Final = rf"\b(?:{_IN_WORDS})\b|(?<![\w.,/:-])\d+(?:,\d{{3}})*(?:\.\d+)?(?![\w/:])"
_NUMBER = re.compile(NUMBER)


def plain(text: str) -> str:
    """Return a text as the rules for sums expect it: "Twenty-six’s" -> "twenty six's"."""
    return re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.casefold().replace("’", "'").strip())


def take_numbers(text: str) -> tuple[str, list[Fraction]]:
    """Return a plain text with '#' for each number, and the values of these."""
    values = [number_value(match[0]) for match in _NUMBER.finditer(text)]
    return _NUMBER.sub("#", text), values


def number_value(text: str) -> Fraction:
    """Return the value of what `NUMBER` matches."""
    if text[0].isdigit():
        return Fraction(text.replace(",", ""))
    whole, _, part = text.replace(",", "").partition(" point ")
    total = below = 0
    for word in whole.split():
        if word in _SCALES:
            total, below = total + (below or 1) * _SCALES[word], 0
        elif word == "hundred":
            below = (below or 1) * 100
        elif word in _TENS:
            below += 10 * (_TENS.index(word) + 2)
        elif word in ONES:
            below += ONES.index(word)
        elif word == "a":
            below = 1
    digits = "".join(str(ONES.index(word)) for word in part.split())
    return Fraction(total + below) + Fraction(int(digits or 0), 10 ** len(digits))


def written(result: Fraction) -> str:
    """Return a number as voices read it well: 'minus 8', '1,156', 'about 3.33'."""
    sign = "minus " if result < 0 else ""
    size = abs(result)
    if size.denominator == 1:
        return f"{sign}{int(size):,}"
    rounded = round(size, 2)
    figures = f"{float(rounded):,.2f}".rstrip("0").rstrip(".")
    return f"{'' if rounded == size else 'about '}{sign}{figures}"
