"""Build prompt tokens and audio placeholders in the chat format published for Llama 3.1. No I/O.

    <|begin_of_text|><|start_header_id|>system<|end_header_id|>\\n\\n
    Cutting Knowledge Date: December 2023\\nToday Date: 26 Jul 2024\\n\\nTEXT<|eot_id|>
    <|start_header_id|>user<|end_header_id|>\\n\\nTEXT\\n<|audio|><|eot_id|>
    <|start_header_id|>assistant<|end_header_id|>\\n\\n

Special tokens are inserted by id and text is tokenized separately, so text can neither end its turn
nor replace a clip. All text between two special tokens is tokenized together, as in training: a
period and the newline after it are one token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from appliance.engines.llm import NAME
from appliance.engines.llm.vllm.tools import render_definitions
from appliance.errors import BadRequest
from appliance.link.engine import ChatMessage, Tool

# Exchanges (a question and its answer) dropped at a time. Dropping exchanges invalidates the cache
# of everything that follows them, so it should happen rarely.
DROPPED_EXCHANGES = 4
STOP_TOKENS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")


class PromptVocabulary(Protocol):
    """The required interface of a model's vocabulary."""

    @property
    def audio(self) -> int:
        """The token id of the placeholder for a clip."""

    def special(self, name: str) -> int:
        """Return the id of a special token. Raises KeyError for an unknown name."""

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of plain text, never a special token."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, or a part of a prompt.

    tokens  token ids, with one placeholder for each clip
    clips   utterance ids of the placeholders, in order
    length  number of tokens after each placeholder is replaced with its clip
    """

    tokens: tuple[int, ...]
    clips: tuple[int, ...]
    length: int


_LlamaRole = Literal["user", "assistant", "ipython"]
_ROLES: Final[Mapping[str, _LlamaRole]] = {
    "user": "user",
    "assistant": "assistant",
    "tool": "ipython",
}


@dataclass(slots=True)
class _Block:
    """The content of a message between header and end: texts, and clips as utterance ids."""

    role: _LlamaRole
    parts: list[str | int]


class Llama3Format:
    """Builds prompts for one model."""

    def __init__(self, vocabulary: PromptVocabulary) -> None:
        special = vocabulary.special
        self._tokenize = vocabulary.tokenize
        self._audio = vocabulary.audio
        self._begin = special("<|begin_of_text|>")
        self._header_start = special("<|start_header_id|>")
        self._header_end = special("<|end_header_id|>")
        self._end_of_turn = special("<|eot_id|>")
        self.stop_tokens: tuple[int, ...] = tuple(special(name) for name in STOP_TOKENS)

    def build_prompt(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[Tool],
        today: str,
        clip_tokens: Mapping[int, int],
        max_tokens: int,
    ) -> Prompt:
        """Build a prompt of at most `max_tokens` tokens.

        The prompt ends with the header of the assistant's reply, unless the last message is the
        assistant's.

        `today` is a date such as 26 Jul 2024. `clip_tokens` maps utterance ids to token counts.
        Utterances that are not in it contain no speech and are omitted, as are messages without
        content. If the conversation is too long, the oldest questions are dropped with their
        answers, DROPPED_EXCHANGES at a time. Raises BadRequest if the last exchange alone is too
        long.
        """
        blocks = _merge_same_role(messages, clip_tokens)
        is_open = bool(blocks) and blocks[-1].role != "assistant"
        head = Prompt((self._begin, *self._system(messages, tools, today)), (), 0)
        tail = Prompt(tuple(self._header("assistant", "")) if is_open else (), (), 0)
        exchanges = [
            [self._render(block, clip_tokens) for block in exchange]
            for exchange in _split_exchanges(blocks)
        ]
        budget = max_tokens - len(head.tokens) - len(tail.tokens)
        while len(exchanges) > 1 and _count_tokens(exchanges) > budget:
            del exchanges[: min(DROPPED_EXCHANGES, len(exchanges) - 1)]
        if _count_tokens(exchanges) > budget:
            raise BadRequest(engine=NAME, what="a conversation longer than its context")
        rendered = [block for exchange in exchanges for block in exchange]
        return Prompt(
            tuple(token for part in (head, *rendered, tail) for token in part.tokens),
            tuple(clip for part in rendered for clip in part.clips),
            len(head.tokens) + _count_tokens(exchanges) + len(tail.tokens),
        )

    def _system(
        self, messages: Sequence[ChatMessage], tools: Sequence[Tool], today: str
    ) -> list[int]:
        instructions = "\n\n".join(
            message.text.strip() for message in messages if message.role == "system"
        )
        text = (
            ("Environment: ipython\n" if tools else "")
            + f"Cutting Knowledge Date: December 2023\nToday Date: {today}\n\n"
            + render_definitions(tools)
            + instructions.strip()
        )
        return [*self._header("system", text), self._end_of_turn]

    def _header(self, role: str, text: str) -> list[int]:
        """Return a header and its text, which is tokenized together with the header's newlines."""
        name = self._tokenize(role)
        return [self._header_start, *name, self._header_end, *self._tokenize(f"\n\n{text}")]

    def _render(self, block: _Block, clip_tokens: Mapping[int, int]) -> Prompt:
        tokens: list[int] = []
        clips: list[int] = []
        text = ""
        for part in block.parts:
            if isinstance(part, str):
                text += part
                continue
            tokens += self._tokenize(text) if clips else self._header(block.role, text)
            tokens.append(self._audio)
            clips.append(part)
            text = ""
        tokens += self._tokenize(text) if clips else self._header(block.role, text)
        tokens.append(self._end_of_turn)
        length = len(tokens) - len(clips) + sum(clip_tokens[clip] for clip in clips)
        return Prompt(tuple(tokens), tuple(clips), length)


def _merge_same_role(
    messages: Sequence[ChatMessage], clip_tokens: Mapping[int, int]
) -> list[_Block]:
    """Merge consecutive messages of one role, because models are trained on alternating roles."""
    blocks: list[_Block] = []
    for message in messages:
        if message.role == "system":
            continue
        text = _render_result(message.text) if message.role == "tool" else message.text.strip()
        clip = message.utterance if message.utterance in clip_tokens else None
        parts: list[str | int] = [text] if text else []
        if clip is not None:
            parts += ["\n", clip] if text else [clip]
        if not parts:
            continue
        role = _ROLES[message.role]
        if blocks and blocks[-1].role == role:
            blocks[-1].parts += ["\n", *parts]
        else:
            blocks.append(_Block(role, parts))
    return blocks


def _split_exchanges(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Group each question with the blocks that follow it.

    Blocks before the first question form a separate group.
    """
    exchanges: list[list[_Block]] = []
    for block in blocks:
        if block.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(block)
    return exchanges


def _count_tokens(exchanges: Sequence[Sequence[Prompt]]) -> int:
    return sum(block.length for exchange in exchanges for block in exchange)


def _render_result(text: str) -> str:
    """Return a tool's result as JSON, as in the official template. Other text becomes a string."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    return text.strip()
