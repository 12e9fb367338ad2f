"""Do two texts say the same? For what a recognizer wrote down of a sound. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from num2words import num2words  # type: ignore[import-untyped]

LONGEST_NUMBER = 4  # digits; a longer one is not read as a number


def plain(text: str) -> list[str]:
    """The words in lower case without punctuation, numbers written out."""
    text = text.lower().replace("\u2019", "'").replace("%", " percent ")
    found = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+", text)
    return [word for one in found for word in _spelt(one)]


def agreement(text: str, sounded: str) -> float:
    """Which part of the words of `text` comes, in its order, in `sounded`: 0..1.

    Insertions cost nothing, for a recognizer writes one word as two; 0 for a text without words.
    """
    wanted, got = plain(text), plain(sounded)
    if not wanted:
        return 0.0
    matcher = difflib.SequenceMatcher(a=wanted, b=got, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(wanted)


def missing(expected: Sequence[str], text: str) -> list[str]:
    """The expected words that are not in the text; `a|b` is satisfied by either."""
    there = set(plain(text))
    return [word for word in expected if not there & set(word.lower().split("|"))]


def _spelt(word: str) -> list[str]:
    if not word.isdigit() or len(word) > LONGEST_NUMBER:
        return [word]
    form = "year" if len(word) == LONGEST_NUMBER else "cardinal"
    return re.findall(r"[a-z]+", num2words(int(word), to=form))
