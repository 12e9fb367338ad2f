"""Reads questions and judges answers. No I/O except reading the file.

A file has one line per question: dialogue, question, must, must_not, separated by tabs. `must` and
`must_not` are regular expressions that are searched in the answer, in any case; empty allows
anything. In `must_not`, SAME stands for an earlier answer of the dialogue, ECHO for the question.
An answer that holds a whole question of ECHO_WORDS or more is wrong in every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

SAME, ECHO = "SAME", "ECHO"
ECHO_WORDS = 4  # "How are you?" may be answered with itself


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a dialogue, and what its answer must and must not hold."""

    dialogue: str
    text: str
    must: str = ""
    must_not: str = ""
    may_repeat: bool = True
    may_echo: bool = True


def parse(lines: Iterable[str]) -> list[Question]:
    """Return the questions. Empty lines and lines that begin with # are skipped.

    Raises ValueError with the line number for a line without a question or with a bad expression.
    """
    questions = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        dialogue, text, must, must_not = (*line.rstrip("\n").split("\t"), "", "", "")[:4]
        if not text:
            raise ValueError(f"line {number}: no question")
        forbidden = must_not.split("|")
        expression = "|".join(part for part in forbidden if part not in (SAME, ECHO))
        for each in (must, expression):
            try:
                re.compile(each)
            except re.error as error:
                raise ValueError(f"line {number}: {each!r}: {error}") from error
        questions.append(
            Question(dialogue, text, must, expression, SAME not in forbidden, ECHO not in forbidden)
        )
    return questions


def dialogues(questions: Sequence[Question]) -> list[list[Question]]:
    """Return the questions of each dialogue: neighbours with the same name."""
    return [list(group) for _, group in groupby(questions, lambda question: question.dialogue)]


def faults(question: Question, answer: str, earlier: Sequence[str]) -> list[str]:
    """Return what is wrong with an answer; empty if nothing is. `earlier`: answers before it."""
    found = []
    if not answer.strip():
        found.append("no answer")
    if question.must and not re.search(question.must, answer, re.IGNORECASE):
        found.append(f"lacks {question.must}")
    if question.must_not and (hit := re.search(question.must_not, answer, re.IGNORECASE)):
        found.append(f"says {hit.group()!r}")
    if not question.may_repeat and plain(answer) in map(plain, earlier):
        found.append("repeats an earlier answer")
    words = plain(question.text)
    is_long = len(words.split()) >= ECHO_WORDS
    if (is_long and words in plain(answer)) or (not question.may_echo and plain(answer) == words):
        found.append("repeats the question")
    return found


def plain(text: str) -> str:
    """Return the words of a text, without case and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))
