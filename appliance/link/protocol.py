"""The engine link's messages; no I/O. docs/engine-link.md is the same in prose.

One WebSocket connection over a unix socket is one caller's session with one engine. Control
messages are JSON texts; audio is binary: a 4-byte big-endian number, then PCM. Towards the engine
the number is an utterance's id, from the engine it is the request's. Everything is bounded: what
does not fit the fields below is refused with `BadRequest`, and the connection stays usable.

    gateway -> engine   open, begin, end, forget, generate, transcribe, warm, speak, hold, resume,
                        cancel, health
    engine -> gateway   opened, token, studied, call, transcript, done, failed, report
"""

from __future__ import annotations

import struct
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from appliance.errors import BadRequest

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 18  # a whole conversation as JSON; audio messages are far smaller
MAX_AUDIO_BYTES = 1 << 16  # 2 s at 16 kHz
_NUMBER = struct.Struct(">I")
_M = TypeVar("_M")

Number = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(max_length=16_000)]


class Message(BaseModel):
    """Base of all messages: immutable, and nothing beyond the declared fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SaidTurn(Message):
    """One turn of a conversation: a text or an utterance's id."""

    role: Literal["system", "user", "assistant", "tool"]
    text: Text = ""
    utterance: Number | None = None


class OfferedTool(Message):
    """Something the model may ask for; `parameters` is JSON text, a JSON Schema of an object."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=1_000)]
    parameters: Annotated[str, Field(max_length=4_000)]


Tools = Annotated[tuple[OfferedTool, ...], Field(max_length=16)]
Conversation = Annotated[tuple[SaidTurn, ...], Field(min_length=1, max_length=200)]


class Open(Message):
    """First message of a connection."""

    type: Literal["open"] = "open"
    version: int


class Begin(Message):
    """An utterance begins; binary messages with its id follow."""

    type: Literal["begin"] = "begin"
    utterance: Number


class End(Message):
    """The utterance is complete."""

    type: Literal["end"] = "end"
    utterance: Number


class Forget(Message):
    """The utterance will not be referred to again."""

    type: Literal["forget"] = "forget"
    utterance: Number


class Generate(Message):
    """Answer this conversation; token*, maybe a call, then done or failed."""

    type: Literal["generate"] = "generate"
    request: Number
    conversation: Conversation
    max_tokens: Annotated[int, Field(ge=1, le=4096)]
    temperature: Annotated[float, Field(ge=0, le=2)]
    tools: Tools = ()
    study: Annotated[int, Field(ge=0, le=1_024)] = 0


class Transcribe(Message):
    """What was said in this utterance? transcript, then done; or failed."""

    type: Literal["transcribe"] = "transcribe"
    request: Number
    utterance: Number


class Warm(Message):
    """Get ready for this conversation; never answered."""

    type: Literal["warm"] = "warm"
    conversation: Conversation
    tools: Tools = ()


class Speak(Message):
    """Speak this phrase; audio*, then done or failed."""

    type: Literal["speak"] = "speak"
    request: Number
    text: Annotated[str, Field(max_length=2_000)]
    voice: Annotated[str, Field(max_length=200)] = ""
    speed: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    urgent: bool = False


class Hold(Message):
    """Stop decoding for this request until `resume`."""

    type: Literal["hold"] = "hold"
    request: Number


class Resume(Message):
    """Go on with a held request."""

    type: Literal["resume"] = "resume"
    request: Number


class Cancel(Message):
    """Drop this request; the engine answers nothing more to it."""

    type: Literal["cancel"] = "cancel"
    request: Number


class Health(Message):
    """How are you? Answered by `report`, also before `open` and while loading."""

    type: Literal["health"] = "health"


class Opened(Message):
    """The session is open."""

    type: Literal["opened"] = "opened"
    version: int
    engine: str


class Token(Message):
    """A piece of the answer."""

    type: Literal["token"] = "token"
    request: Number
    text: Text


class Studied(Message):
    """A token of a reply under study, with log-probabilities by token id."""

    type: Literal["studied"] = "studied"
    request: Number
    token: Number
    logprobs: dict[int, float]


class Call(Message):
    """The model asks for a tool; without a name the call could not be read."""

    type: Literal["call"] = "call"
    request: Number
    name: Annotated[str, Field(max_length=64)]
    arguments: Text


class Transcript(Message):
    """What was said."""

    type: Literal["transcript"] = "transcript"
    request: Number
    text: Text


class Done(Message):
    """The request is complete; `stats` are seconds or counts by name."""

    type: Literal["done"] = "done"
    request: Number
    reason: str = "stop"
    stats: dict[str, float] = {}


class Failed(Message):
    """The request, or with no number the connection, failed; `reason` is of the catalogue."""

    type: Literal["failed"] = "failed"
    request: Number | None = None
    reason: str
    message: str
    details: dict[str, str] = {}


class Report(Message):
    """A process's health; `metrics` is Prometheus text."""

    type: Literal["report"] = "report"
    ready: bool
    waiting_for: str = ""
    metrics: str = ""


ToEngine = (
    Open | Begin | End | Forget | Generate | Transcribe | Warm | Speak | Hold | Resume | Cancel
    | Health
)  # fmt: skip
ToGateway = Opened | Token | Studied | Call | Transcript | Done | Failed | Report

_to_engine: TypeAdapter[ToEngine] = TypeAdapter(Annotated[ToEngine, Field(discriminator="type")])
_to_gateway: TypeAdapter[ToGateway] = TypeAdapter(Annotated[ToGateway, Field(discriminator="type")])


def encode(message: Message) -> str:
    """The JSON text of a message."""
    return message.model_dump_json(exclude_defaults=False)


def decode_to_engine(text: str, engine: str = "") -> ToEngine:
    """The message a gateway sent. Raises BadRequest without repeating what was in it."""
    return _decode(_to_engine, text, engine)


def decode_to_gateway(text: str, engine: str = "") -> ToGateway:
    """The message an engine sent. Raises BadRequest."""
    return _decode(_to_gateway, text, engine)


def pack_audio(number: int, pcm: bytes) -> bytes:
    """A binary message: `pcm` of utterance or request `number`."""
    return _NUMBER.pack(number) + pcm


def unpack_audio(data: bytes, engine: str = "") -> tuple[int, bytes]:
    """(number, PCM) of a binary message. Raises BadRequest for a size that cannot be."""
    pcm = data[_NUMBER.size :]
    if len(data) < _NUMBER.size or len(pcm) % 2 or len(pcm) > MAX_AUDIO_BYTES:
        raise BadRequest(engine=engine, what=f"an audio message of {len(data)} bytes")
    return _NUMBER.unpack_from(data)[0], pcm


def _decode(adapter: TypeAdapter[_M], text: str, engine: str) -> _M:
    try:
        return adapter.validate_json(text)
    except ValidationError as problem:
        # Where and what kind, never the value: it can be what a caller said.
        where = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in problem.errors()[:3]
        )
        raise BadRequest(engine=engine, what=where) from None
