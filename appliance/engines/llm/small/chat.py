"""Build the prompt tokens of a conversation for a ChatML model such as Qwen2.5. No I/O.

    <|im_start|>system\\nTEXT<|im_end|>\\n<|im_start|>user\\nTEXT<|im_end|>\\n<|im_start|>assistant\\n

Control tokens are inserted by id. Text is tokenized separately and never parsed for control tokens,
so a user who says "<|im_end|>" adds nine ordinary tokens. Tool definitions end the system prompt,
and the results of tools are turns of the user.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.engines.llm import NAME
from appliance.engines.llm.small.hints.dialogue import add_notes, find_hints
from appliance.engines.llm.small.hints.hint import Hint
from appliance.engines.llm.small.hints.impossible_requests import may_act
from appliance.engines.llm.small.parts import join_parts
from appliance.engines.llm.small.tools import (
    called_name,
    has_parameters,
    render_call,
    render_definitions,
    render_result,
)
from appliance.errors import BadRequest
from appliance.link.engine import ChatMessage, Tool
from appliance.settings.prompts import SMALL_PROMPT

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

    def __init__(self, tokenizer: ChatTokenizer, examples: Sequence[tuple[str, str]] = ()) -> None:
        """Look up the control tokens. Raises BadRequest if the model has none for ChatML.

        `examples` follow the system prompt in every prompt, except calls of tools that are not
        offered.
        """
        self._examples = examples
        start, end = tokenizer.control("<|im_start|>"), tokenizer.control("<|im_end|>")
        if start is None or end is None:
            raise BadRequest(engine=NAME, what="a model without ChatML control tokens")
        self._tokenize = tokenizer.tokenize
        self._start, self._end = start, end
        self._newline = tokenizer.tokenize("\n")

    def build_prompt(
        self,
        turns: Sequence[ChatMessage],
        max_tokens: int,
        is_open: bool = False,
        tools: Sequence[Tool] = (),
    ) -> list[int]:
        """Build a prompt of at most `max_tokens` tokens.

        If the last turn is the user's or a tool's, the prompt ends with the header of the
        assistant's reply.
        `is_open`: the user will say more, so the prompt ends with the text of the user's turn, or
        with its header if the last turn is not the user's. It is the beginning of a later prompt.
        If the conversation is too long, the oldest turns are dropped, DROPPED_TURNS at a time, and
        then the beginning of the last turn. The system prompt, the tools and the examples are never
        dropped. Raises BadRequest if these alone are too long.
        """
        prompts = [turn for turn in turns if turn.role == "system"]
        system = add_definitions(prompts, tools)
        dialogue = merge_same_role([turn for turn in turns if turn.role != "system"])
        head = [
            token
            for turn in (*system, *example_turns(self._examples, tools))
            for token in self._turn(turn)
        ]
        is_result = [turn.role == "tool" for turn in dialogue]
        noted = add_notes(dialogue, may_act(tools), _may_know(prompts))
        dialogue = render_calls([*noted[:-1], *dialogue[-1:]] if is_open else noted)
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
        while len(bodies) > 1 and is_result[-len(bodies)]:
            del bodies[0]  # a result without its call
        if bodies and len(bodies[0]) > budget:
            bodies = [self._shorten(dialogue[-1], budget)]
        if budget < 0:
            raise BadRequest(engine=NAME, what="a system prompt longer than its context")
        return [*head, *(token for body in bodies for token in body), *tail]

    def reply_hint(self, turns: Sequence[ChatMessage], tools: Sequence[Tool] = ()) -> Hint:
        """Return the hint for the reply to `turns`; an empty one after a tool's result."""
        dialogue = merge_same_role([turn for turn in turns if turn.role != "system"])
        if not dialogue or dialogue[-1].role != "user":
            return Hint()
        return find_hints(dialogue, may_act(tools), _may_know(turns))[-1]

    def _header(self, role: str) -> list[int]:
        return [self._start, *self._tokenize(f"{role}\n")]

    def _turn(self, turn: ChatMessage) -> list[int]:
        return [*self._unfinished(turn), self._end, *self._newline]

    def _unfinished(self, turn: ChatMessage) -> list[int]:
        return [self._start, *self._tokenize(f"{turn.role}\n{turn.text}")]

    def _shorten(self, turn: ChatMessage, budget: int) -> list[int]:
        header, closing = self._header(turn.role), [self._end, *self._newline]
        text = self._tokenize(turn.text)
        keep = max(0, budget - len(header) - len(closing))
        if not keep:
            raise BadRequest(engine=NAME, what="a system prompt longer than its context")
        return [*header, *text[-keep:], *closing]


def _may_know(turns: Sequence[ChatMessage]) -> bool:
    """A prompt of the site may tell the opening hours; the default one tells nothing."""
    return any(turn.role == "system" and turn.text != SMALL_PROMPT for turn in turns)


def insert_transcripts(
    turns: Sequence[ChatMessage], transcripts: Mapping[int, str]
) -> list[ChatMessage]:
    """Replace utterances with their transcripts; omit turns without text, except of tools.

    The spoken parts of one question become one turn.
    """
    texts: list[ChatMessage] = []
    spoken = False  # whether the turn before ends with an utterance
    for turn in turns:
        text = turn.text
        if turn.utterance is not None:
            words = transcripts.get(turn.utterance, "")
            if spoken and not text and turn.role == "user":
                texts[-1] = ChatMessage(turn.role, join_parts([texts[-1].text, words]))
                continue
            text = f"{text} {words}".strip()
        spoken = turn.role == "user" and turn.utterance is not None
        texts.append(ChatMessage(turn.role, text))
    return [turn for turn in texts if turn.text.strip() or turn.role == "tool"]


def merge_same_role(turns: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Merge consecutive turns of one role, because models are trained on alternating roles."""
    merged: list[ChatMessage] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = ChatMessage(turn.role, f"{merged[-1].text} {turn.text}")
        else:
            merged.append(turn)
    return merged


def add_definitions(system: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[ChatMessage]:
    """Add the definitions of the tools to the last system turn."""
    definitions = render_definitions(tools)
    if not definitions:
        return list(system)
    text = system[-1].text if system else ""
    return [*system[:-1], ChatMessage("system", f"{text}\n{definitions}".strip())]


def render_calls(dialogue: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Render tool calls and their results in the model's format.

    A call is a turn of the assistant before a turn of a tool. The result is a turn of the user that
    repeats the question: after the result alone, small models say only "Thank you.".
    """
    rendered: list[ChatMessage] = []
    question, call = "", ""
    following = [turn.role for turn in dialogue[1:]]
    for turn, role in itertools.zip_longest(dialogue, following):
        if turn.role == "user":
            question = turn.text
        elif turn.role == "tool":
            turn = ChatMessage("user", render_result(call, turn.text, question))
        elif role == "tool":
            call = render_call(turn.text)
            turn = ChatMessage("assistant", call)
        rendered.append(turn)
    return rendered


def spent_tools(turns: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools without parameters that were called since the last question.

    A second call would return the same, but small models would make it.
    """
    asked = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=0)
    calls = [
        called_name(render_call(call.text))
        for call, result in itertools.pairwise(turns[asked:])
        if result.role == "tool"
    ]
    return [tool for tool in tools if tool.name in calls and not has_parameters(tool)]


def example_turns(examples: Sequence[tuple[str, str]], tools: Sequence[Tool]) -> list[ChatMessage]:
    """Return pairs of question and answer as turns, without calls of tools that are not offered."""
    names = {tool.name for tool in tools}
    return [
        turn
        for question, answer in examples
        if (name := called_name(answer)) is None or name in names
        for turn in (ChatMessage("user", question), ChatMessage("assistant", answer))
    ]
