"""What the pipeline has to do because of an event of the client. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.link.engine import Tool


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the pipeline for a reply. `audio` is 16 kHz PCM.

    response_id  of the response that the client gets
    stop         number of a stop that comes first, because a reply waits for a tool of the client,
                 or 0
    """

    response_id: str
    text: str
    audio: tuple[bytes, ...]
    stop: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Interrupt the bot. The pipeline reports the `number` when that is done."""

    number: int


@dataclass(frozen=True, slots=True)
class Greet:
    """Say the greeting. `response_id` as in Ask."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Configure:
    """Use these settings of the client. Instructions that are "" are the operator's."""

    instructions: str
    voice: str
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True)
class TakeResult:
    """A tool of the client has returned."""

    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """Reply to the results of the client's tools. `response_id` as in Ask."""

    response_id: str


Command = Ask | Stop | Greet | Configure | TakeResult | GoOn
