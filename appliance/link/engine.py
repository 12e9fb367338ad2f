"""The contract of the engine link: what a model process implements, and the types both ends share.

The link's server owns sockets, requests and cancellation; an engine owns a model. All methods run
on the server's event loop and must not block it: an engine does slow work in threads of its own.

Field bounds are declared here and checked where a message arrives (`appliance.link.protocol`).
Constructing one of these types checks nothing.

All audio is mono int16 little-endian PCM: 16 kHz towards an LLMSession, 24 kHz from a
TTSSession.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import ConfigDict, Field

INPUT_SAMPLE_RATE = 16_000  # Hz, utterances
OUTPUT_SAMPLE_RATE = 24_000  # Hz, synthesized speech; Kokoro's own rate

MAX_TEXT_CHARS = 16_000  # of a chat message, a chunk of a reply, a transcript or a call's arguments
MAX_CONVERSATION_MESSAGES = 200
MAX_QUESTION_PARTS = 16  # utterances of one question
MAX_REPLY_TOKENS = 4_096
MAX_TOOLS = 16
TOOL_NAME = r"^[A-Za-z0-9_-]{1,64}$"
MAX_TOOL_DESCRIPTION_CHARS = 1_000
MAX_TOOL_PARAMETERS_CHARS = 4_000

Id = Annotated[int, Field(ge=0, lt=2**32)]  # of a request or an utterance; unique in a session
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_call", "nothing_heard"]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation: text, an utterance id, or text followed by an utterance.

    The text of the assistant can be a tool call. The next message then has the role `tool` and the
    tool's result as its text.

    Consecutive messages of the user are the parts of one question: the user went on after a reply
    had been requested, and before it was heard.
    """

    __pydantic_config__ = _STRICT

    role: Role
    text: Text = ""
    utterance: Id | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    parameters  JSON text: a JSON Schema of type object
    """

    __pydantic_config__ = _STRICT

    name: Annotated[str, Field(pattern=TOOL_NAME)]
    description: Annotated[str, Field(max_length=MAX_TOOL_DESCRIPTION_CHARS)]
    parameters: Annotated[str, Field(max_length=MAX_TOOL_PARAMETERS_CHARS)]


def last_question(conversation: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """Return the last message; if it is the user's, all parts of the question."""
    start = len(conversation) - 1
    while start > 0 and conversation[start].role == conversation[start - 1].role == "user":
        start -= 1
    return conversation[max(0, start) :]


Conversation = Annotated[
    tuple[ChatMessage, ...], Field(min_length=1, max_length=MAX_CONVERSATION_MESSAGES)
]
QuestionParts = Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_QUESTION_PARTS)]
Tools = Annotated[tuple[Tool, ...], Field(max_length=MAX_TOOLS)]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Input of a generation; the last message of `conversation` is the user's or a tool's.

    max_tokens   longest reply, in the model's tokens
    temperature  of the sampling; 0 is greedy
    tools        what the model may call; an engine without tool calling ignores them
    speculative  the user's turn may not have ended, so the request is often cancelled; replies to
                 turns that have ended go first
    """

    __pydantic_config__ = _STRICT

    conversation: Conversation
    max_tokens: Annotated[int, Field(ge=1, le=MAX_REPLY_TOKENS)]
    temperature: Annotated[float, Field(ge=0, le=2)]
    tools: Tools = ()
    speculative: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call made by the model.

    A call that cannot be parsed or matches none of the offered tools has an empty name. It must
    not be run.

    arguments  JSON text: an object
    """

    __pydantic_config__ = _STRICT

    name: Annotated[str, Field(max_length=64)] = ""
    arguments: Text = "{}"


@dataclass(frozen=True, slots=True)
class Result:
    """How a request ended.

    reason  stop: the reply is complete; length: it reached `max_tokens`; tool_call: it is a tool
            call; nothing_heard: there is no reply, because the last utterance has no speech
    stats   measurements of this request by name, in seconds or counts
    """

    __pydantic_config__ = _STRICT

    reason: FinishReason
    stats: Mapping[str, float] = field(default_factory=dict)


Chunk = str | ToolCall | Result


class Engine(Protocol):
    """A model process. The link refuses sessions with `not_ready` until `start` has returned."""

    name: str

    async def start(self) -> None:
        """Load and warm up the model. Raises CannotStart."""

    async def stop(self) -> None:
        """Free the model; called once, after the last session was closed."""

    async def died(self) -> None:
        """Return when the model has crashed; the process then exits.

        Raises ModelUnhealthy if the model still runs but its output can no longer be trusted.
        """

    def metrics(self) -> bytes:
        """Return the engine's own metrics in Prometheus text format; must not block."""


class LLMEngine(Engine, Protocol):
    """Speech and text in, text out: the `llm` process."""

    def open(self) -> LLMSession:
        """Return a session for a new connection; cheap."""


@runtime_checkable
class LLMSession(Protocol):
    """One connection's session with a speech-LLM.

    Utterance ids are chosen by the gateway and never reused within a session.
    """

    def begin(self, utterance: int) -> None:
        """Begin an utterance; `add_audio` adds audio to it."""

    def add_audio(self, utterance: int, pcm: bytes) -> None:
        """Append audio to an utterance. Returns at once; processing may start in the background."""

    def end(self, utterance: int) -> None:
        """Mark the utterance as complete."""

    def forget(self, utterance: int) -> None:
        """Free an utterance. No later message refers to it."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate a reply: chunks of text as they are decoded, or a ToolCall; then a Result.

        The last utterance need not have ended: the audio received so far is used. It may grow after
        the generator was closed. A request that is repeated for the same audio reuses the work of
        the first one.

        Where sessions share a processor, decoding is at most one token ahead of the consumer, so a
        slow consumer pauses the model; the first phrase of every reply goes first, and the rest
        may be decoded only as fast as it is spoken. Closing the generator stops the model within
        one token and frees the resources of the request. Raises EngineFailed.
        """

    def confirm(self) -> None:
        """Treat the running speculative `generate` like any other: its user waits for the reply."""

    async def transcribe(self, *utterances: int) -> str:
        """Transcribe a question that was spoken in one or more complete utterances.

        It has lower priority than any `generate`.
        """

    async def prefill(
        self,
        conversation: tuple[ChatMessage, ...],
        tools: tuple[Tool, ...] = (),
        background: bool = False,
    ) -> None:
        """Prefill for a `generate` whose conversation will begin like this one.

        The last message may be an incomplete utterance; the audio received so far is used. A later
        `prefill` or `generate` of the same session takes precedence; it continues the work where
        its conversation begins like this one.

        `background`: nobody will wait for it soon, because the user is speaking or hears the reply.
        It has the lowest priority, leaves time to other processes, and the engine may ignore it. If
        the last message is an utterance, the user is speaking and the last words may change.
        """

    async def close(self) -> None:
        """Free all resources of the session; its connection is closed."""


class TTSEngine(Engine, Protocol):
    """Text in, speech out: the `tts` process."""

    def open(self) -> TTSSession:
        """Return a session for a new connection; cheap."""


@runtime_checkable
class TTSSession(Protocol):
    """One connection's session with a TTS engine."""

    def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """Synthesize one phrase. Yields PCM chunks as they become available.

        Yields nothing if the phrase has no words. An empty `voice` means the engine's default.
        `urgent` phrases (the first of a reply) have priority over others. Closing the generator
        stops the synthesis at the next chunk. Raises UnknownVoice and EngineFailed.
        """

    async def close(self) -> None:
        """Free all resources of the session; its connection is closed."""
