"""Do two texts say the same? For what a recognizer wrote down of a sound. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from num2words import num2words

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


@dataclass(frozen=True, slots=True)
class Question:
    """Words that have to be understood, and that have to be in the answer; `a|b` is either."""

    text: str
    understood: tuple[str, ...]
    answered: tuple[str, ...] = ()


KNOWN = (
    Question("What is the capital of France?", ("capital", "france"), ("paris",)),
    Question("What is the capital of Italy?", ("capital", "italy"), ("rome",)),
)
TOLD = Question("My name is Peter.", ("name", "peter"))
ASKED_BACK = Question("What is my name?", ("name",), ("peter",))
MEMORY = (TOLD, ASKED_BACK)

LONG = Question("Please tell me a long story about a dog.", ("story",))
INTERRUPTION = KNOWN[0]


def conversation(turns: int) -> list[Question]:
    """A call of so many turns, at least the known questions and the two that show memory."""
    chosen: list[Question] = [*KNOWN, *MEMORY]
    more: Iterator[Question] = cycle((*KNOWN, ASKED_BACK))
    while len(chosen) < turns:
        chosen.append(next(more))
    return chosen
