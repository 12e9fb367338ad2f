"""What is said to the appliance. Pure.

The small model of the cpu profile answers these right, and the expected words are such that the
small recognizers write them down as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle


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
