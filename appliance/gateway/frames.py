"""The frames of the gateway that Pipecat does not have, by what they are about.

A SystemFrame overtakes what is queued. A ControlFrame keeps its place among the audio.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipecat.frames.frames import ControlFrame, InterruptionFrame, SystemFrame

from appliance.gateway.playout import Rewind
from appliance.link.engine import Tool

# --- The voice of the user: turns/voice_activity.py


@dataclass
class SpeechPausedFrame(SystemFrame):
    """The user's speech has paused for `silence_seconds`; the turn may continue."""

    silence_seconds: float = 0.0


@dataclass
class SpeechResumedFrame(SystemFrame):
    """The user speaks again after a pause that was too short for a VADUserStoppedSpeakingFrame."""


@dataclass
class VoiceBeganFrame(SystemFrame):
    """Voice has begun that may become speech; a VADUserStartedSpeakingFrame or its end follows."""


@dataclass
class VoiceFadedFrame(SystemFrame):
    """The voice that has begun was too short for speech."""


@dataclass
class MissingAudioFrame(SystemFrame):
    """The microphone has not sent audio for `seconds` more: silence in place of it."""

    seconds: float = 0.0


# --- The end of a turn: turns/turn_stop.py


@dataclass
class PauseTranscriptFrame(SystemFrame):
    """Transcript of the turn up to the current pause. The LLM service pushes it upstream."""

    text: str = ""


# --- A pause of the bot, because the user may interrupt it: turns/interruption_gate.py


@dataclass
class PauseBotFrame(SystemFrame):
    """The bot pauses: its client drops what it has not played, and nothing more is sent."""


@dataclass
class ResumeBotFrame(SystemFrame):
    """The bot goes on, from the start of the phrase in which it paused."""


@dataclass
class TranscribeUtteranceFrame(SystemFrame):
    """Asks the LLM service for the words of the user's voice so far."""

    request: int = 0


@dataclass
class UtteranceTranscriptFrame(SystemFrame):
    """Answers a TranscribeUtteranceFrame, upstream. `text` is None if the engine failed."""

    request: int = 0
    text: str | None = None


# --- The reply, and its phrases: generation/, speech/, transport.py


@dataclass
class ReplyEndFrame(ControlFrame):
    """Marks the end of a whole reply, tool calls included.

    Pipecat has no such frame: it emits two responses for a reply with a tool call, and treats a few
    seconds without audio as the end of speech.
    """


@dataclass
class PhraseBrokenFrame(ControlFrame):
    """The engine has failed: the audio that follows, if any, is not of the phrase."""


@dataclass
class PhraseRestartedFrame(ControlFrame):
    """The audio of the broken phrase follows, from its start. `text` is "" in a notice."""

    text: str = ""


@dataclass
class RewindFrame(ControlFrame):
    """The bot goes on after a pause; the audio that follows was sent before."""

    rewind: Rewind | None = None


@dataclass
class RepeatedPhraseFrame(ControlFrame):
    """The audio of the next phrase follows again. `text` as in PhraseStart."""

    text: str = ""


@dataclass
class RepeatedPhraseEndFrame(ControlFrame):
    """All audio of the repeated phrase was sent again."""


# --- What a client of the Realtime protocol asks for: realtime/


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
