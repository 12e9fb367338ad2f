"""The questions of the acceptance test, and the comparison of transcripts with texts. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from num2words import num2words

MAX_NUMBER_DIGITS = 4  # longer digit strings are not spelled out


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the words by which it is checked.

    understood   words that the transcript of the question must contain
    answered     words that the answer must contain; `a|b` stands for either word
    """

    text: str
    understood: tuple[str, ...]
    answered: tuple[str, ...] = ()


KNOWLEDGE = (
    Question("What is the capital of France?", ("capital", "france"), ("paris",)),
    Question("What is the capital of Italy?", ("capital", "italy"), ("rome",)),
)
INTRODUCTION = Question("My name is Peter.", ("name", "peter"))
# Not "What is my name?": a small model answers "My name is Peter.", which does not show whether it
# knows whose name that is.
RECALL = Question("What is the caller's name?", ("name",))
WHOSE = ("caller's|callers",)  # one transcript in 36 has "the collar's name"
MEMORY = (INTRODUCTION, RECALL)
NAME = "peter"

STORY = Question("Please tell me a long story about a dog.", ("story",))
INTERRUPTION = KNOWLEDGE[0]


def conversation(turns: int) -> list[Question]:
    """Return at least `turns` questions for one call, including all of KNOWLEDGE and MEMORY."""
    questions: list[Question] = [*KNOWLEDGE, *MEMORY]
    repeated: Iterator[Question] = cycle((*KNOWLEDGE, RECALL))
    while len(questions) < turns:
        questions.append(next(repeated))
    return questions


def normalize(text: str) -> list[str]:
    """Return the words in lower case, without punctuation and with numbers spelled out."""
    text = text.lower().replace("\u2019", "'").replace("%", " percent ")
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+", text)
    return [part for word in words for part in _spell_out(word)]


def agreement(text: str, transcript: str) -> float:
    """Return the share (0..1) of the words of `text` that `transcript` contains in the same order.

    Extra words are not penalised, because a recognizer may write one word as two. Returns 0 for a
    text without words.
    """
    expected, recognised = normalize(text), normalize(transcript)
    if not expected:
        return 0.0
    matcher = difflib.SequenceMatcher(a=expected, b=recognised, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(expected)


def missing(expected: Sequence[str], text: str) -> list[str]:
    """Return the expected words that `text` lacks. `a|b` is satisfied by either word."""
    words = set(normalize(text))
    return [word for word in expected if not words & set(word.lower().split("|"))]


# Between the verb and the name, only words that do not change the meaning are accepted: no "not".
_ADVERBS = r"(?:(?:indeed|still|definitely|clearly|of course|called|named|,) )*"
_OF_THE_CALLER = (
    r"\b(?:(?:your|the caller's) (?:first )?name(?: is|'s| was)"
    r"|the caller is|you(?: are|'re| were)|call you|know you as) " + _ADVERBS + r"{name}\b",
    r"\byou (?:said|told me)(?: that)?(?: it| your name)?(?: is| was|'s)? {name}\b",
    r"\b{name} is (?:your|the caller's) name\b",
    # The name alone, or after a few words that state it of the caller.
    r"^(?:(?:oh|yes|well|sure|of course|hello|hi|it is|it's|that is|that's|,|\.|!) )*"
    r"{name}(?: [.,!?;:].*)?$",
)


def names_caller(reply: str, name: str = NAME) -> bool:
    """Return whether a reply to a question for the caller's name gives it, in lower case.

    A bot that repeats the caller's sentence ("My name is Peter.") has not understood whose name it
    is, so the reply must say it of the caller, call the caller by it, or be the name alone.
    """
    tokens = re.findall(r"[\w']+|[.,!?;:]", reply.lower().replace("\u2019", "'"))
    text = " ".join(tokens)
    patterns = (pattern.format(name=re.escape(name)) for pattern in _OF_THE_CALLER)
    return any(re.search(pattern, text) for pattern in patterns)


def _spell_out(word: str) -> list[str]:
    if not word.isdigit() or len(word) > MAX_NUMBER_DIGITS:
        return [word]
    form = "year" if len(word) == MAX_NUMBER_DIGITS else "cardinal"
    return re.findall(r"[a-z]+", num2words(int(word), to=form))
