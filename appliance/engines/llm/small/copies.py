"""Decides whether a reply copies an earlier answer or the caller's sentence. No I/O.

Small models copy text of the prompt when they do not know what to say. The text of a reply is held
back only while its words are the first words of such a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from appliance.engines.llm.small.swapped_persons import (
    DECIDING_WORDS,
    asks_for_own_fact,
    swapped_pronoun,
)
from appliance.link.engine import ChatMessage

# This many equal words at the beginning are a copy. Two right answers may begin alike ("I am sorry,
# I do not know the weather", "... the opening hours"). The text is held back only as long as it is
# equal, and not longer than about the first phrase.
COPIED_WORDS: Final = 10
# Shorter answers may be right twice ("I am sorry, I cannot send anything."), and a caller's short
# sentence may be answered by itself ("Good evening to you.").
MIN_ANSWER_WORDS: Final = 8
MIN_QUESTION_WORDS: Final = 4
# "Okay." before a copied answer does not make it another answer.
OPENINGS: Final = frozenset({"okay", "ok", "sure", "certainly", "well", "yes", "alright"})
# The caller asks for the last answer once more, so it is not a copy. English, as `llm.language`.
_ASKS_TO_REPEAT = re.compile(
    r"\b(?:again|repeat|pardon|once more|one more time|what did you say|"
    r"(?:did not|didn't|didn’t) (?:hear|catch|get) (?:you|that|it))\b"
)
# ... unless it is to be told in another way, or not at all.
_ASKS_FOR_ANOTHER = re.compile(
    r"\b(?:do not|don't|don’t|never|stop|without) (?:\w+ )?(?:say|repeat|tell)(?:ing)?\b"
    r"|\b(?:simpler|simply|easier|shorter|slower|different|other|fewer|plain) (?:\w+ )?words?\b"
    r"|\b(?:more simply|differently|another way|simpler|easier|shorter)\b"
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s*$")
_WORD = re.compile(r"\w+(?:['’]\w+)*")


class CopyState(Enum):
    """What is known about a reply: it may become a copy, is one, or is the model's own text."""

    OPEN = "open"
    COPY = "copy"
    OWN = "own"


class CopyGuard:
    """Compares the beginning of one reply with the texts that it must not copy."""

    def __init__(self, answers: Sequence[str], question: str) -> None:
        """`answers` are the assistant's earlier answers, `question` is the caller's last text."""
        self._sources = {
            text: words
            for text, least in (
                *((answer, MIN_ANSWER_WORDS) for answer in answers),
                (question, MIN_QUESTION_WORDS),
            )
            if len(words := _without_opening(split_words(text))) >= least
        }
        self._asks_for_own_fact = asks_for_own_fact(question)
        self.copied = ""  # the text that the reply copies, once it is a copy

    @classmethod
    def of(cls, turns: Sequence[ChatMessage]) -> CopyGuard:
        """Return the guard for the reply to a conversation without utterances.

        After a tool's result nothing is a copy: the same question has the same answer. An answer
        that the caller asks to hear again may be repeated.
        """
        if not turns or turns[-1].role != "user":
            return cls((), "")
        question = turns[-1].text
        asked = question.casefold()
        if _ASKS_TO_REPEAT.search(asked) and not _ASKS_FOR_ANOTHER.search(asked):
            return cls((), question)
        return cls([turn.text for turn in turns if turn.role == "assistant"], question)

    def judge(self, text: str, is_complete: bool = False) -> CopyState:
        """Judge a reply by its text so far. `is_complete`: no more text follows."""
        words = _without_opening(split_words(text))
        is_open = not is_complete and bool(words) and (text[-1].isalnum() or text[-1] in "'’")
        whole, part = (words[:-1], words[-1]) if is_open else (words, "")
        ends = is_complete or bool(_SENTENCE_END.search(text))
        if self._asks_for_own_fact:
            if not is_complete and len(whole) < DECIDING_WORDS:
                return CopyState.OPEN
            if pronoun := swapped_pronoun(text):
                self.copied = pronoun
                return CopyState.COPY
        states = {
            self._compare(source, whole, part, ends): text for text, source in self._sources.items()
        }
        self.copied = states.get(CopyState.COPY, "")
        if CopyState.COPY in states:
            return CopyState.COPY
        return CopyState.OPEN if CopyState.OPEN in states and not is_complete else CopyState.OWN

    def _compare(
        self, source: Sequence[str], words: Sequence[str], part: str, ends: bool
    ) -> CopyState:
        """Compare complete `words`, then the beginning `part` of one, with the words of a text."""
        compared = min(len(words), COPIED_WORDS, len(source))
        if words[:compared] != source[:compared]:
            return CopyState.OWN
        if compared == COPIED_WORDS:
            return CopyState.COPY
        if len(words) == len(source) and not part:
            return CopyState.COPY if ends else CopyState.OPEN
        if len(words) >= len(source) or not source[compared].startswith(part):
            return CopyState.OWN
        return CopyState.OPEN


def _without_opening(words: list[str]) -> list[str]:
    """Return the words from the first one on that is not in OPENINGS."""
    count = 0
    while count < len(words) and words[count] in OPENINGS:
        count += 1
    return words[count:]


def split_words(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    return _WORD.findall(text.casefold())
