"""The engine link's messages. No I/O; docs/engine-link.md documents them.

One WebSocket connection over a unix socket is one session with one engine. Control messages are
JSON texts. Audio messages are binary: a 4-byte big-endian id, then PCM. The id names an
utterance in messages to the engine, and a request in messages from it. All sizes are
bounded: a message that exceeds the bounds of its fields is refused with `BadRequest`, and the
connection stays usable.

    gateway -> engine   open, begin, end, forget, generate, transcribe, prefill, speak, confirm,
                        hold, resume, cancel, health
    engine -> gateway   opened, token, call, transcript, done, failed, report
"""

from __future__ import annotations

import struct
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from appliance.errors import BadRequest
from appliance.link.engine import (
    Conversation,
    GenerateRequest,
    Id,
    QuestionParts,
    Result,
    Text,
    ToolCall,
    Tools,
)

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 18  # a whole conversation as JSON; audio messages are far smaller
MAX_AUDIO_BYTES = 1 << 16  # 2 s at 16 kHz
MAX_PHRASE_CHARS = 2_000
_AUDIO_HEADER = struct.Struct(">I")
_M = TypeVar("_M")


class LinkMessage(BaseModel):
    """Base of all messages. Immutable; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OpenMessage(LinkMessage):
    """First message of a connection."""

    type: Literal["open"] = "open"
    version: int


class BeginMessage(LinkMessage):
    """An utterance begins; binary messages with its id follow."""

    type: Literal["begin"] = "begin"
    utterance: Id


class EndMessage(LinkMessage):
    """The utterance is complete."""

    type: Literal["end"] = "end"
    utterance: Id


class ForgetMessage(LinkMessage):
    """No later message refers to the utterance."""

    type: Literal["forget"] = "forget"
    utterance: Id


class GenerateMessage(LinkMessage):
    """Reply to a conversation. Answered by token*, maybe a call, then done; or failed."""

    type: Literal["generate"] = "generate"
    request: Id
    generation: GenerateRequest


class TranscribeMessage(LinkMessage):
    """Transcribe the parts of one question. Answered by transcript and done, or failed."""

    type: Literal["transcribe"] = "transcribe"
    request: Id
    utterances: QuestionParts


class PrefillMessage(LinkMessage):
    """Prefill for this conversation; never answered. `background`: nobody will wait for it soon."""

    type: Literal["prefill"] = "prefill"
    conversation: Conversation
    tools: Tools = ()
    background: bool = False


class SpeakMessage(LinkMessage):
    """Synthesize this phrase. Answered by audio*, then done; or failed."""

    type: Literal["speak"] = "speak"
    request: Id
    text: Annotated[str, Field(max_length=MAX_PHRASE_CHARS)]
    voice: Annotated[str, Field(max_length=200)] = ""
    speed: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    urgent: bool = False


class ConfirmMessage(LinkMessage):
    """The user waits for this request, which was speculative."""

    type: Literal["confirm"] = "confirm"
    request: Id


class HoldMessage(LinkMessage):
    """Pause the generation of this request until `resume`."""

    type: Literal["hold"] = "hold"
    request: Id


class ResumeMessage(LinkMessage):
    """Continue a held request."""

    type: Literal["resume"] = "resume"
    request: Id


class CancelMessage(LinkMessage):
    """Cancel this request; the engine sends nothing more for it."""

    type: Literal["cancel"] = "cancel"
    request: Id


class HealthRequest(LinkMessage):
    """Request the health. Answered by `report`, even before `open` and while the model loads."""

    type: Literal["health"] = "health"


class OpenedMessage(LinkMessage):
    """The session is open."""

    type: Literal["opened"] = "opened"
    version: int
    engine: str


class TokenMessage(LinkMessage):
    """A chunk of the reply."""

    type: Literal["token"] = "token"
    request: Id
    text: Text


class ToolCallMessage(LinkMessage):
    """The reply is a tool call."""

    type: Literal["call"] = "call"
    request: Id
    call: ToolCall


class TranscriptMessage(LinkMessage):
    """The words of a question."""

    type: Literal["transcript"] = "transcript"
    request: Id
    text: Text


class DoneMessage(LinkMessage):
    """The request is complete."""

    type: Literal["done"] = "done"
    request: Id
    result: Result = Result("stop")


class FailedMessage(LinkMessage):
    """A request failed. If `request` is null, a message of the gateway was refused.

    reason   names the error in the catalogue of `appliance.errors`
    details  the arguments of that error
    """

    type: Literal["failed"] = "failed"
    request: Id | None = None
    reason: str
    message: str
    details: dict[str, str] = {}


class HealthReport(LinkMessage):
    """The health of a process; `metrics` is in Prometheus text format."""

    type: Literal["report"] = "report"
    ready: bool
    waiting_for: str = ""
    metrics: str = ""


ToEngine = (
    OpenMessage
    | BeginMessage
    | EndMessage
    | ForgetMessage
    | GenerateMessage
    | TranscribeMessage
    | PrefillMessage
    | SpeakMessage
    | ConfirmMessage
    | HoldMessage
    | ResumeMessage
    | CancelMessage
    | HealthRequest
)
ToGateway = (
    OpenedMessage
    | TokenMessage
    | ToolCallMessage
    | TranscriptMessage
    | DoneMessage
    | FailedMessage
    | HealthReport
)

_to_engine: TypeAdapter[ToEngine] = TypeAdapter(Annotated[ToEngine, Field(discriminator="type")])
_to_gateway: TypeAdapter[ToGateway] = TypeAdapter(Annotated[ToGateway, Field(discriminator="type")])


def encode(message: LinkMessage) -> str:
    """Return the JSON text of a message."""
    return message.model_dump_json(exclude_defaults=False)


def decode_to_engine(text: str, engine: str = "") -> ToEngine:
    """Parse a message of the gateway. Raises BadRequest, which never repeats the content."""
    return _decode(_to_engine, text, engine)


def decode_to_gateway(text: str, engine: str = "") -> ToGateway:
    """Parse a message of the engine. Raises BadRequest."""
    return _decode(_to_gateway, text, engine)


def pack_audio(id: int, pcm: bytes) -> bytes:
    """Return a binary message: PCM of the utterance or request `id`."""
    return _AUDIO_HEADER.pack(id) + pcm


def unpack_audio(data: bytes, engine: str = "") -> tuple[int, bytes]:
    """Return the id and the PCM of a binary message. Raises BadRequest for an invalid size."""
    pcm = data[_AUDIO_HEADER.size :]
    if len(data) < _AUDIO_HEADER.size or len(pcm) % 2 or len(pcm) > MAX_AUDIO_BYTES:
        raise BadRequest(engine=engine, what=f"an audio message of {len(data)} bytes")
    return _AUDIO_HEADER.unpack_from(data)[0], pcm


def _decode(adapter: TypeAdapter[_M], text: str, engine: str) -> _M:
    try:
        return adapter.validate_json(text)
    except ValidationError as problem:
        # Name the field and the kind of error, never the value: it may be a user's words.
        errors = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in problem.errors()[:3]
        )
        raise BadRequest(engine=engine, what=errors) from None
