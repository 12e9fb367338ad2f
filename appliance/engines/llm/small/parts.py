"""The transcript of a question that was spoken in parts. No I/O.

The recognizer ends each part like a sentence and begins it with a capital letter, also where the
user only paused. Whether a sentence has ended is not known, so a comma joins the parts: it is right
for a pause, and can be read at the end of a sentence, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from appliance.link.engine import ChatMessage

_UNCAPITALIZED_TEXT: Final = (
    "a an the this that these those my your his her its our their and but or so because since "
    "while when where which who whom whose what why how if although though unless until then "
    "than as of in on at by for from to with without into onto about over under between through "
    "during before after above below against among around near off per via within like is are "
    "was were am be been being has have had do does did will would can could shall should may "
    "might must it it's he she we you they there not no yes please also just only"
)
_UNCAPITALIZED: Final = frozenset(_UNCAPITALIZED_TEXT.split())


def spoken_parts(turns: Sequence[ChatMessage]) -> list[tuple[int, ...]]:
    """Return the utterances of each spoken question, in order."""
    questions: list[tuple[int, ...]] = []
    continues = False
    for turn in turns:
        if turn.utterance is None:
            continues = False
            continue
        if continues and not turn.text and turn.role == "user":
            questions[-1] += (turn.utterance,)
        else:
            questions.append((turn.utterance,))
        continues = turn.role == "user"
    return questions


def join_parts(texts: Iterable[str]) -> str:
    """Return the transcripts of the parts, in order, as one question."""
    question = ""
    for text in texts:
        question = _join(question, text.strip()) if question else text.strip()
    return question


def _join(first: str, second: str) -> str:
    if not second:
        return first
    kept = first.rstrip(" .!?,;:…-–—")
    if not kept:
        return second
    word, space, rest = second.partition(" ")
    if word.rstrip(" .!?,;:…").lower() in _UNCAPITALIZED:
        word = word.lower()
    return f"{kept}, {word}{space}{rest}"
