"""What the pipeline has to do because of an event of the client. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the pipeline for a reply. `audio` is 16 kHz PCM."""

    text: str
    audio: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Interrupt the bot."""


@dataclass(frozen=True, slots=True)
class Greet:
    """Say the greeting."""


@dataclass(frozen=True, slots=True)
class Instruct:
    """Use these instructions of the client."""

    text: str


Command = Ask | Stop | Greet | Instruct
