"""What a gateway tells an engine of a conversation: turns, and utterances it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class Utterance:
    """What a user said in one go: 16 kHz mono int16 PCM that grows until `complete`."""

    __slots__ = ("complete", "number", "pcm")

    def __init__(self, number: int) -> None:
        self.number = number
        self.pcm = bytearray()
        self.complete = False

    @property
    def seconds(self) -> float:
        """Length so far."""
        return len(self.pcm) / 32_000


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of a conversation: a text, or what was said."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    utterance: Utterance | None = None
