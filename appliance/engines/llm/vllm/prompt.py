"""A conversation as prompt tokens and audio slots, in Llama 3.1's published chat format; pure.

    <|begin_of_text|><|start_header_id|>system<|end_header_id|>\\n\\n
    Cutting Knowledge Date: December 2023\\nToday Date: 26 Jul 2024\\n\\nTEXT<|eot_id|>
    <|start_header_id|>user<|end_header_id|>\\n\\nTEXT\\n<|audio|><|eot_id|>
    <|start_header_id|>assistant<|end_header_id|>\\n\\n

Special tokens are put in by name and texts are tokenized on their own, so that no text can end its
turn or claim a clip. Whatever stands between two special tokens is tokenized in one piece, as in
training: "." and a newline are one token.

The size of a clip is Ultravox v0.5's (fixie-ai/ultravox, ultravox_processing.py): 100 mel frames a
second; 16 frames are one token; every 3000 frames (30 s) are a part of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from appliance.engines.llm.vllm.tools import definitions
from appliance.errors import BadRequest
from appliance.link.engine import Tool, Turn

DROPPED_AT_ONCE = 4  # questions with their answers; what is cut off at the front costs the cache
FRAME_SAMPLES = 160  # of 16 kHz audio, 10 ms
LEAST_SAMPLES = 320  # shorter audio is filled up with silence
FRAMES_PER_TOKEN = 16
FRAMES_PER_PART = 3000
STOPS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")


class Vocabulary(Protocol):
    """What is needed of a model's vocabulary."""

    @property
    def audio(self) -> int:
        """The placeholder of a clip."""

    def special(self, name: str) -> int:
        """The id of a special token. Raises KeyError when there is none of this name."""

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text, never a special one."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """tokens  with one placeholder for every clip
    clips   utterances of the placeholders, in order
    length  in tokens, once clips stand in place of their placeholders
    """

    tokens: tuple[int, ...]
    clips: tuple[int, ...]
    length: int


def audio_tokens(samples: int) -> int:
    """How many tokens a clip of so many samples of 16 kHz audio becomes."""
    frames = -(-max(samples, LEAST_SAMPLES) // FRAME_SAMPLES)
    parts, rest = divmod(frames, FRAMES_PER_PART)
    return parts * -(-FRAMES_PER_PART // FRAMES_PER_TOKEN) + -(-rest // FRAMES_PER_TOKEN)


@dataclass(slots=True)
class _Block:
    """What one role says between its header and the end of its turn: texts, and clips after it."""

    role: Literal["user", "assistant", "ipython"]
    parts: list[str | int]


_ROLES: Final[Mapping[str, Literal["user", "assistant", "ipython"]]] = {
    "user": "user",
    "assistant": "assistant",
    "tool": "ipython",
}


class Llama3Format:
    """Writes prompts for one model."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        special = vocabulary.special
        self._tokenize = vocabulary.tokenize
        self._audio = vocabulary.audio
        self._begin = special("<|begin_of_text|>")
        self._header, self._header_end = (
            special("<|start_header_id|>"),
            special("<|end_header_id|>"),
        )
        self._end = special("<|eot_id|>")
        self.stops: tuple[int, ...] = tuple(special(name) for name in STOPS)

    def prompt(
        self,
        turns: Sequence[Turn],
        tools: Sequence[Tool],
        today: str,
        clip_tokens: Mapping[int, int],
        room_tokens: int,
    ) -> Prompt:
        """The turns, open for an answer unless the last one is the assistant's.

        `today` is a date such as 26 Jul 2024. `clip_tokens` has the size of every utterance; one
        that it lacks held no speech and is left out, as is a turn that then says nothing. A prompt
        of more than `room_tokens` loses its oldest questions and their answers, DROPPED_AT_ONCE at
        a time and all but the last if need be. Raises BadRequest when that is not enough.
        """
        blocks = _alternating(turns, clip_tokens)
        opening = bool(blocks) and blocks[-1].role != "assistant"
        head = Prompt((self._begin, *self._system(turns, tools, today)), (), 0)
        tail = Prompt(tuple(self._opening("assistant", "")) if opening else (), (), 0)
        exchanges = [
            [self._written(block, clip_tokens) for block in exchange]
            for exchange in _exchanges(blocks)
        ]
        room = room_tokens - len(head.tokens) - len(tail.tokens)
        while len(exchanges) > 1 and _length(exchanges) > room:
            del exchanges[: min(DROPPED_AT_ONCE, len(exchanges) - 1)]
        if _length(exchanges) > room:
            raise BadRequest(engine="llm", what="a conversation longer than its context")
        written = [block for exchange in exchanges for block in exchange]
        return Prompt(
            tuple(token for part in (head, *written, tail) for token in part.tokens),
            tuple(clip for part in written for clip in part.clips),
            len(head.tokens) + _length(exchanges) + len(tail.tokens),
        )

    def _system(self, turns: Sequence[Turn], tools: Sequence[Tool], today: str) -> list[int]:
        said = "\n\n".join(turn.text.strip() for turn in turns if turn.role == "system")
        text = (
            ("Environment: ipython\n" if tools else "")
            + f"Cutting Knowledge Date: December 2023\nToday Date: {today}\n\n"
            + definitions(tools)
            + said.strip()
        )
        return [*self._opening("system", text), self._end]

    def _opening(self, role: str, text: str) -> list[int]:
        """A header and the text right after it, which is tokenized with the header's newlines."""
        name = self._tokenize(role)
        return [self._header, *name, self._header_end, *self._tokenize(f"\n\n{text}")]

    def _written(self, block: _Block, clip_tokens: Mapping[int, int]) -> Prompt:
        tokens: list[int] = []
        clips: list[int] = []
        text = ""
        for part in block.parts:
            if isinstance(part, str):
                text += part
                continue
            tokens += self._tokenize(text) if clips else self._opening(block.role, text)
            tokens.append(self._audio)
            clips.append(part)
            text = ""
        tokens += self._tokenize(text) if clips else self._opening(block.role, text)
        tokens.append(self._end)
        length = len(tokens) - len(clips) + sum(clip_tokens[clip] for clip in clips)
        return Prompt(tuple(tokens), tuple(clips), length)


def _alternating(turns: Sequence[Turn], clip_tokens: Mapping[int, int]) -> list[_Block]:
    """Turns of one role in a row as one: models are trained on dialogues that alternate."""
    blocks: list[_Block] = []
    for turn in turns:
        if turn.role == "system":
            continue
        text = _result(turn.text) if turn.role == "tool" else turn.text.strip()
        clip = turn.utterance if turn.utterance in clip_tokens else None
        parts: list[str | int] = [text] if text else []
        if clip is not None:
            parts += ["\n", clip] if text else [clip]
        if not parts:
            continue
        role = _ROLES[turn.role]
        if blocks and blocks[-1].role == role:
            blocks[-1].parts += ["\n", *parts]
        else:
            blocks.append(_Block(role, parts))
    return blocks


def _exchanges(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Each with a question first and all that answers it; what comes before a question alone."""
    exchanges: list[list[_Block]] = []
    for block in blocks:
        if block.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(block)
    return exchanges


def _length(exchanges: Sequence[Sequence[Prompt]]) -> int:
    return sum(block.length for exchange in exchanges for block in exchange)


def _result(text: str) -> str:
    """A tool's result as JSON, as the template writes it: text that is no JSON becomes a string."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    return text.strip()
