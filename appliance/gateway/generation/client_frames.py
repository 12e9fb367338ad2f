"""Frames of a client that asks for more than a call: questions, settings and tools of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pipecat.frames.frames import ControlFrame, InterruptionFrame, SystemFrame

from appliance.link.engine import Tool


@dataclass
class ClientQuestionFrame(SystemFrame):
    """Ask for a reply to a typed text, to speech, or to both. Nobody may be speaking.

    audio        16 kHz mono int16 PCM, one piece for each spoken part
    stop         number of a stop that comes first, because a reply waits for a tool of the client,
                 or 0
    response_id  what the client calls the reply
    """

    text: str = ""
    audio: tuple[bytes, ...] = ()
    stop: int = 0
    response_id: str = ""


@dataclass
class ClientStopFrame(SystemFrame):
    """Interrupt the bot, and report the number when that is done."""

    number: int = 0


@dataclass
class ClientInterruptionFrame(InterruptionFrame):
    """The interruption that a ClientStopFrame with this number has caused."""

    number: int = 0


@dataclass
class ClientGreetingFrame(SystemFrame):
    """Say the greeting. `response_id`: what the client calls it; "" if it did not ask for it."""

    response_id: str = ""


@dataclass
class ClientSettingsFrame(SystemFrame):
    """What the client sets from the next reply on. Sent only if the operator allows it.

    instructions  replace the operator's; "": the operator's
    voice         of the speech
    tools         offered to the model beside those of the appliance
    """

    instructions: str = ""
    voice: str = ""
    tools: tuple[Tool, ...] = ()


@dataclass
class ClientToolCallFrame(ControlFrame):
    """The model calls a tool of the client. The frame is in order with the audio of the bot.

    tool       its name
    arguments  JSON text: an object
    """

    call_id: str = ""
    tool: str = ""
    arguments: str = ""


@dataclass
class ClientToolResultFrame(SystemFrame):
    """A tool of the client has returned."""

    call_id: str = ""
    text: str = ""


@dataclass
class ClientReplyFrame(SystemFrame):
    """Go on with the reply, now that the model can see the results of the client's tools.

    `response_id`: what the client calls the rest of the reply.
    """

    response_id: str = ""
