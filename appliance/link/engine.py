"""What a model process has to offer to be put behind the engine link.

The link's server owns sockets, requests and cancellation; an engine owns a model. Everything here
runs on the server's event loop: an engine keeps slow work in threads of its own and never blocks.

All audio on the link is mono int16 little endian PCM: 16 kHz towards `SpeechModel`, 24 kHz from
`Voice`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

HEARD_RATE = 16_000  # Hz, utterances
SPOKEN_RATE = 24_000  # Hz, Kokoro's own rate


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation as a model is told of it: a text, or an utterance by its id.

    A turn of the assistant that called a tool has the call as its text, and one of role `tool`
    follows it, whose text is what the tool returned.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    utterance: int | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """Something the model may ask for; `parameters` is JSON text, a JSON Schema of an object."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. `arguments` is JSON text, an object.

    A call that cannot be read, or of a tool that was not offered, has no name and is never run.
    """

    name: str = ""
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Studied:
    """A token of a reply under study: its id, and log-probabilities (natural) by token id."""

    token: int
    logprobs: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """How a generation ended.

    reason     stop (the model was done), length (out of tokens), called (it asked for a tool), or
               nothing_heard (the last utterance held no speech, and so there is no answer)
    stats      measurements of this request by name, in seconds or counts
    """

    reason: str
    stats: dict[str, float] = field(default_factory=dict)


Piece = str | ToolCall | Studied | Result


class Engine(Protocol):
    """A model process. `start` loads and warms it; until then the link answers 'not ready'."""

    name: str

    async def start(self) -> None:
        """Loads the model. Raises CannotStart when that is impossible."""

    async def stop(self) -> None:
        """Frees the model; called once, after the last session was closed."""

    async def died(self) -> None:
        """Returns only when the model died under the process, which then ends.

        Raises ModelSick when it is no longer to be trusted.
        """

    def metrics(self) -> bytes:
        """The engine's own metrics in Prometheus text format; must not block."""


class SpeechEngine(Engine, Protocol):
    """Speech and text in, text out (the `llm` process)."""

    def open(self) -> SpeechSession:
        """A new caller; cheap."""


@runtime_checkable
class SpeechSession(Protocol):
    """One caller of a speech-LLM engine. Utterance ids are the caller's own, never reused."""

    def begin(self, utterance: int) -> None:
        """A new utterance begins; `hear` adds to it."""

    def hear(self, utterance: int, pcm: bytes) -> None:
        """More audio of an utterance; returns at once, work on it may start in the background."""

    def end(self, utterance: int) -> None:
        """The utterance is complete."""

    def forget(self, utterance: int) -> None:
        """The utterance will not be referred to again."""

    def generate(
        self,
        conversation: Sequence[Turn],
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        study: int = 0,
    ) -> AsyncGenerator[Piece, None]:
        """Answers the conversation, whose last turn is the user's or a tool's.

        Yields pieces of text as they are decoded, or a ToolCall, then one Result. Where callers
        share a processor, decoding runs no more than one token ahead of the consumer, so that a
        consumer who waits holds the model. Closing the generator stops the model within one token
        and frees what the request held. An engine without tools ignores `tools`.

        `study` is for comparing an engine with a reference: every token also comes as Studied with
        so many of the largest log-probabilities, and no token ends the reply. An engine that
        cannot say raises BadRequest.

        Raises EngineFailed.
        """

    async def transcribe(self, utterance: int) -> str:
        """What was said in a complete utterance; yields to every `generate`."""

    async def warm(self, conversation: Sequence[Turn], tools: Sequence[Tool] = ()) -> None:
        """Prepares for `generate` of a conversation that begins like this one.

        The last turn may be an utterance that has not ended: what was heard of it so far is
        worked on. A later `warm` or `generate` of the same session takes precedence.
        """

    async def close(self) -> None:
        """The caller left; everything the session held is freed."""


class VoiceEngine(Engine, Protocol):
    """Text in, speech out (the `tts` process)."""

    def open(self) -> VoiceSession:
        """A new caller; cheap."""


@runtime_checkable
class VoiceSession(Protocol):
    """One caller of a TTS engine."""

    def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """Speaks one phrase: yields PCM as it becomes available, nothing if none can be spoken.

        An empty `voice` means the engine's own. `urgent` phrases (the first of a reply) go before
        others. Closing the generator stops the work at the next chunk. Raises UnknownVoice and
        EngineFailed.
        """

    async def close(self) -> None:
        """The caller left."""


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
