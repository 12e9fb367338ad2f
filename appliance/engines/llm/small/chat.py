"""A conversation as the prompt tokens of a ChatML model (Qwen2.5, SmolLM2); pure.

    <|im_start|>system\\nTEXT<|im_end|>\\n<|im_start|>user\\nTEXT<|im_end|>\\n<|im_start|>assistant\\n

The control tokens are put in by number and the texts are tokenized on their own, without looking
for control tokens in them. So a caller who says "<|im_end|>" has said nine harmless words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.errors import BadRequest
from appliance.link.engine import Turn

DROPPED_AT_ONCE = 8  # turns; a prompt that loses its beginning loses the cache of all the rest


class Tokenizer(Protocol):
    """What is needed of a model's vocabulary."""

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text, never a control token."""

    def control(self, name: str) -> int | None:
        """The control token of this name, if the model has it."""


class ChatFormat:
    """Writes prompts for one model."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises BadRequest when the model does not know ChatML."""
        start, end = tokenizer.control("<|im_start|>"), tokenizer.control("<|im_end|>")
        if start is None or end is None:
            raise BadRequest(engine="llm", what="a model without ChatML control tokens")
        self._tokenize = tokenizer.tokenize
        self._start, self._end = start, end
        self._newline = tokenizer.tokenize("\n")

    def prompt(self, turns: Sequence[Turn], room_tokens: int) -> list[int]:
        """The tokens of the turns, of at most `room_tokens`, open for an answer to a user's turn.

        Too long a conversation loses its oldest turns, DROPPED_AT_ONCE at a time, then the
        beginning of the last turn; never the system prompt. Raises BadRequest when that alone is
        too long.
        """
        system = [turn for turn in turns if turn.role == "system"]
        talk = alternating([turn for turn in turns if turn.role != "system"])
        head = [token for turn in system for token in self._turn(turn)]
        bodies = [self._turn(turn) for turn in talk]
        tail = self._opening("assistant") if talk and talk[-1].role == "user" else []
        room = room_tokens - len(head) - len(tail)
        while len(bodies) > 1 and sum(map(len, bodies)) > room:
            del bodies[: min(DROPPED_AT_ONCE, len(bodies) - 1)]
        if bodies and len(bodies[0]) > room:
            bodies = [self._shortened(talk[-1], room)]
        if room < 0:
            raise BadRequest(engine="llm", what="a system prompt longer than its context")
        return [*head, *(token for body in bodies for token in body), *tail]

    def _opening(self, role: str) -> list[int]:
        return [self._start, *self._tokenize(f"{role}\n")]

    def _turn(self, turn: Turn) -> list[int]:
        body = self._tokenize(f"{turn.role}\n{turn.text}")
        return [self._start, *body, self._end, *self._newline]

    def _shortened(self, turn: Turn, room: int) -> list[int]:
        opening, closing = self._opening(turn.role), [self._end, *self._newline]
        words = self._tokenize(turn.text)
        keep = max(0, room - len(opening) - len(closing))
        if not keep:
            raise BadRequest(engine="llm", what="a system prompt longer than its context")
        return [*opening, *words[-keep:], *closing]


def filled(turns: Sequence[Turn], heard: Mapping[int, str]) -> list[Turn]:
    """The turns with what was heard of utterances; those that say nothing are left out."""
    texts = (
        Turn(turn.role, f"{turn.text} {heard.get(turn.utterance, '')}".strip())
        if turn.utterance is not None
        else turn
        for turn in turns
    )
    return [turn for turn in texts if turn.text.strip()]


def alternating(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of one role in a row as one turn: models are trained on dialogues that alternate."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, f"{merged[-1].text} {turn.text}")
        else:
            merged.append(turn)
    return merged
