"""A question that a client sends as a whole, instead of a microphone and turn detection."""

from __future__ import annotations

from dataclasses import dataclass

from pipecat.frames.frames import SystemFrame


@dataclass
class ClientQuestionFrame(SystemFrame):
    """Ask for a reply to a typed text, to speech, or to both. Nobody may be speaking.

    audio  16 kHz mono int16 PCM, one piece for each spoken part
    """

    text: str = ""
    audio: tuple[bytes, ...] = ()


@dataclass
class ClientInstructionsFrame(SystemFrame):
    """Use these instructions instead of the operator's from the next reply on. "": the operator's.

    Sent only if the operator allows it.
    """

    text: str = ""
