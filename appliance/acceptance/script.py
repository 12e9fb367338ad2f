"""The questions of the acceptance test, and how transcripts are compared with texts. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from num2words import num2words

MAX_NUMBER_DIGITS = 4  # longer digit strings are not read as numbers


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the words that its transcript must contain, and those of its answer.

    `a|b` stands for either word.
    """

    text: str
    understood: tuple[str, ...]
    answered: tuple[str, ...] = ()


KNOWLEDGE = (
    Question("What is the capital of France?", ("capital", "france"), ("paris",)),
    Question("What is the capital of Italy?", ("capital", "italy"), ("rome",)),
)
INTRODUCTION = Question("My name is Peter.", ("name", "peter"))
RECALL = Question("What is my name?", ("name",), ("peter",))
MEMORY = (INTRODUCTION, RECALL)

STORY = Question("Please tell me a long story about a dog.", ("story",))
INTERRUPTION = KNOWLEDGE[0]


def conversation(turns: int) -> list[Question]:
    """Return the questions of one call: at least those of KNOWLEDGE and MEMORY."""
    questions: list[Question] = [*KNOWLEDGE, *MEMORY]
    more: Iterator[Question] = cycle((*KNOWLEDGE, RECALL))
    while len(questions) < turns:
        questions.append(next(more))
    return questions


def normalize(text: str) -> list[str]:
    """Return the words in lower case, without punctuation, numbers spelled out."""
    text = text.lower().replace("\u2019", "'").replace("%", " percent ")
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+", text)
    return [part for word in words for part in _spell_out(word)]


def agreement(text: str, transcript: str) -> float:
    """Return the share (0..1) of the words of `text` that `transcript` contains, in their order.

    Extra words are not penalised, because a recognizer may write one word as two. A text without
    words agrees with nothing.
    """
    expected, recognised = normalize(text), normalize(transcript)
    if not expected:
        return 0.0
    matcher = difflib.SequenceMatcher(a=expected, b=recognised, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(expected)


def missing(expected: Sequence[str], text: str) -> list[str]:
    """Return the expected words that the text lacks; `a|b` is satisfied by either."""
    words = set(normalize(text))
    return [word for word in expected if not words & set(word.lower().split("|"))]


def _spell_out(word: str) -> list[str]:
    if not word.isdigit() or len(word) > MAX_NUMBER_DIGITS:
        return [word]
    form = "year" if len(word) == MAX_NUMBER_DIGITS else "cardinal"
    return re.findall(r"[a-z]+", num2words(int(word), to=form))
