"""Build the prompt tokens of a conversation for a ChatML model such as Qwen2.5. No I/O.

    <|im_start|>system\\nTEXT<|im_end|>\\n<|im_start|>user\\nTEXT<|im_end|>\\n<|im_start|>assistant\\n

Control tokens are inserted by id. Text is tokenized separately and never parsed for control tokens,
so a user who says "<|im_end|>" adds nine ordinary tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.engines.llm import NAME
from appliance.errors import BadRequest
from appliance.link.engine import Turn

# Turns dropped at a time. Dropping turns invalidates the cache of everything that follows them, so
# it should happen rarely.
DROPPED_TURNS = 8


class ChatTokenizer(Protocol):
    """The required interface of a model's tokenizer."""

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of plain text, never a control token."""

    def control(self, name: str) -> int | None:
        """Return the control token with this name; None if the model has no such token."""


class ChatMLFormat:
    """Builds prompts for one model."""

    def __init__(self, tokenizer: ChatTokenizer, examples: Sequence[Turn] = ()) -> None:
        """Look up the control tokens. Raises BadRequest if the model has none for ChatML.

        `examples` follow the system prompt in every prompt.
        """
        self._examples = examples
        start, end = tokenizer.control("<|im_start|>"), tokenizer.control("<|im_end|>")
        if start is None or end is None:
            raise BadRequest(engine=NAME, what="a model without ChatML control tokens")
        self._tokenize = tokenizer.tokenize
        self._start, self._end = start, end
        self._newline = tokenizer.tokenize("\n")

    def build_prompt(
        self, turns: Sequence[Turn], max_tokens: int, is_open: bool = False
    ) -> list[int]:
        """Build a prompt of at most `max_tokens` tokens.

        If the last turn is the user's, the prompt ends with the header of the assistant's reply.
        `is_open`: the user will say more, so the prompt ends with the text of the user's turn, or
        with its header if the last turn is not the user's. It is the beginning of a later prompt.
        If the conversation is too long, the oldest turns are dropped, DROPPED_TURNS at a time, and
        then the beginning of the last turn. The system prompt and the examples are never dropped.
        Raises BadRequest if these alone are too long.
        """
        system = [turn for turn in turns if turn.role == "system"]
        dialogue = merge_same_role([turn for turn in turns if turn.role != "system"])
        head = [token for turn in (*system, *self._examples) for token in self._turn(turn)]
        bodies = [self._turn(turn) for turn in dialogue]
        asks = bool(dialogue) and dialogue[-1].role == "user"
        tail = self._header("assistant") if asks else []
        if is_open and asks:
            bodies[-1], tail = self._unfinished(dialogue[-1]), []
        elif is_open:
            tail = self._header("user")
        budget = max_tokens - len(head) - len(tail)
        while len(bodies) > 1 and sum(map(len, bodies)) > budget:
            del bodies[: min(DROPPED_TURNS, len(bodies) - 1)]
        if bodies and len(bodies[0]) > budget:
            bodies = [self._shorten(dialogue[-1], budget)]
        if budget < 0:
            raise BadRequest(engine=NAME, what="a system prompt longer than its context")
        return [*head, *(token for body in bodies for token in body), *tail]

    def _header(self, role: str) -> list[int]:
        return [self._start, *self._tokenize(f"{role}\n")]

    def _turn(self, turn: Turn) -> list[int]:
        return [*self._unfinished(turn), self._end, *self._newline]

    def _unfinished(self, turn: Turn) -> list[int]:
        return [self._start, *self._tokenize(f"{turn.role}\n{turn.text}")]

    def _shorten(self, turn: Turn, budget: int) -> list[int]:
        header, closing = self._header(turn.role), [self._end, *self._newline]
        text = self._tokenize(turn.text)
        keep = max(0, budget - len(header) - len(closing))
        if not keep:
            raise BadRequest(engine=NAME, what="a system prompt longer than its context")
        return [*header, *text[-keep:], *closing]


def insert_transcripts(turns: Sequence[Turn], transcripts: Mapping[int, str]) -> list[Turn]:
    """Replace utterances with their transcripts; omit turns without text."""
    texts = (
        Turn(turn.role, f"{turn.text} {transcripts.get(turn.utterance, '')}".strip())
        if turn.utterance is not None
        else turn
        for turn in turns
    )
    return [turn for turn in texts if turn.text.strip()]


def merge_same_role(turns: Sequence[Turn]) -> list[Turn]:
    """Merge consecutive turns of one role, because models are trained on alternating roles."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, f"{merged[-1].text} {turn.text}")
        else:
            merged.append(turn)
    return merged
