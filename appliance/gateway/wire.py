"""What a client may send, checked before Pipecat sees it; and what it gets to see of errors.

Pipecat's protobuf serializer trusts its client: a text frame would be spoken, a transcription
taken as what the user said, 48 kHz stereo as 16 kHz mono, and a flood kept in memory without
bound. Here only audio of the one format and a few RTVI messages get through, at the pace of
speech; everything else ends the session with a close code, or is dropped where a well-meaning
client SDK might send it. `Guard` decides, without I/O or a clock of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pipecat.frames.protobufs.frames_pb2 as frame_protos
from google.protobuf.message import DecodeError
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.protobuf import ProtobufFrameSerializer

from appliance.errors import BadFrame, FrameTooBig, SessionEnded, TooFast
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import Gateway

BYTES_PER_SECOND = INPUT_SAMPLE_RATE * 2
LABEL = "rtvi-ai"
MIN_CHARGED_BYTES = BYTES_PER_SECOND // 200  # of 5 ms: shorter frames cost as much to handle
MESSAGES_PER_SECOND = 10.0  # a client that types sends far fewer
MESSAGES_BURST = 30.0
MAX_TEXT_CHARS = 4_000
PLAYBACK_STARTED = "playback-started"  # RTVI client message: the reply has become audible there
# What says that something happens, and nothing of what is said.
WORDLESS = {
    *("bot-ready", "error", "error-response", "server-message", "bot-interrupted"),
    *(f"{who}-{what}-speaking" for who in ("user", "bot") for what in ("started", "stopped")),
    *(f"{what}-{how}" for what in ("bot-llm", "bot-tts") for how in ("started", "stopped")),
}
SHOWN_ERROR = "Something went wrong; the call goes on."


class Bucket:
    """A token bucket: `rate` tokens a second, at most `burst` saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at: float | None = None

    def take(self, tokens: float, now: float) -> bool:
        """Takes tokens if there are enough; `now` in seconds, never falling."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True


class Guard:
    """Turns what a client sent into a Pipecat frame, or refuses it."""

    def __init__(self, gateway: Gateway) -> None:
        self._max_bytes = gateway.max_frame_bytes
        self._audio = Bucket(
            BYTES_PER_SECOND * gateway.pace_ratio, BYTES_PER_SECOND * gateway.pace_burst_seconds
        )
        self._messages = Bucket(MESSAGES_PER_SECOND, MESSAGES_BURST)

    def read(self, data: bytes | str, now: float) -> Frame | None:
        """The frame, or None for a message that is dropped. Raises SessionEnded."""
        if isinstance(data, str):
            raise BadFrame(what="a text message")
        if len(data) > self._max_bytes:
            raise FrameTooBig(size_bytes=len(data), limit_bytes=self._max_bytes)
        try:
            proto = frame_protos.Frame.FromString(data)  # type: ignore[attr-defined]
        except DecodeError:
            raise BadFrame(what="bytes that are no protobuf frame") from None
        kind = proto.WhichOneof("frame")
        if kind == "audio":
            return self._read_audio(proto.audio, now)
        if kind == "message":
            return self._read_message(proto.message.data, now)
        raise BadFrame(what=f"a frame of kind {kind or 'none'}")

    def _read_audio(self, audio: Any, now: float) -> Frame | None:
        if audio.sample_rate != INPUT_SAMPLE_RATE:
            raise BadFrame(what=f"audio of {audio.sample_rate} Hz")
        if audio.num_channels != 1:
            raise BadFrame(what=f"audio of {audio.num_channels} channels")
        if len(audio.audio) % 2:
            raise BadFrame(what="half an audio sample")
        if not self._audio.take(max(len(audio.audio), MIN_CHARGED_BYTES), now):
            raise TooFast
        if not audio.audio:
            return None
        return InputAudioRawFrame(audio.audio, INPUT_SAMPLE_RATE, 1)

    def _read_message(self, text: str, now: float) -> Frame | None:
        if not self._messages.take(1, now):
            raise TooFast
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise BadFrame(what="a message that is no JSON") from None
        if not isinstance(message, dict) or message.get("label") != LABEL:
            raise BadFrame(what="a message that is not RTVI")
        kind, number, data = message.get("type"), message.get("id"), message.get("data")
        allowed = _ALLOWED.get(kind) if isinstance(kind, str) else None
        given = allowed(data if isinstance(data, dict) else {}) if allowed else None
        if given is None:
            return None
        return InputTransportMessageFrame(
            message={"label": LABEL, "type": kind, "id": _short(number, 100), "data": given}
        )


def _ready(data: dict[str, Any]) -> dict[str, Any]:
    about = data.get("about")
    library = about.get("library") if isinstance(about, dict) else None
    return {"version": _short(data.get("version"), 20), "about": {"library": _short(library, 50)}}


def _short(value: object, most: int) -> str:
    return str(value)[:most] if isinstance(value, str | int) else ""


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    content = data.get("content")
    if not isinstance(content, str) or not content.strip() or len(content) > MAX_TEXT_CHARS:
        raise BadFrame(what="typed text that is empty or too long")
    try:
        content.encode()  # JSON may hold half a character, which nothing after us can write down
    except UnicodeEncodeError:
        raise BadFrame(what="typed text that is no Unicode") from None
    return {"content": content, "options": {"run_immediately": True, "audio_response": True}}


def _told(data: dict[str, Any]) -> dict[str, Any] | None:
    return {"t": PLAYBACK_STARTED} if data.get("t") == PLAYBACK_STARTED else None


_ALLOWED: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "client-ready": _ready,
    "client-message": _told,
    "send-text": _typed,
    "disconnect-bot": lambda _: {},
}


class GuardedSerializer(ProtobufFrameSerializer):
    """Pipecat's serializer behind the guard.

    `on_violation` hears what ends the session, `on_audio` the direction, "in" or "out", and the
    bytes of PCM that pass. Without `words` nothing gets out that could hold any of the call's;
    server messages are the session's own and looked after there.
    """

    def __init__(
        self,
        gateway: Gateway,
        on_violation: Callable[[SessionEnded], None],
        on_audio: Callable[[str, int], None] = lambda _direction, _bytes: None,
        words: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._guard = Guard(gateway)
        self._on_violation = on_violation
        self._on_audio = on_audio
        self._words = words
        self._clock = clock
        self._closed = False

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """The frame, or None; after a violation nothing gets through any more."""
        if self._closed:
            return None
        try:
            frame = self._guard.read(data, self._clock())
        except SessionEnded as problem:
            self._closed = True
            self._on_violation(problem)
            return None
        if isinstance(frame, InputAudioRawFrame):
            self._on_audio("in", len(frame.audio))
        return frame

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """The bytes for the client; texts of exceptions are replaced."""
        if not (self._words or _is_wordless(frame)):
            return None
        if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            _without_exception_text(frame.message)
        elif isinstance(frame, OutputAudioRawFrame):
            self._on_audio("out", len(frame.audio))
        return await super().serialize(frame)


def _is_wordless(frame: Frame) -> bool:
    if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
        return isinstance(frame.message, dict) and frame.message.get("type") in WORDLESS
    return isinstance(frame, OutputAudioRawFrame | InterruptionFrame)


def _without_exception_text(message: Any) -> None:
    if isinstance(message, dict) and message.get("type") in ("error", "error-response"):
        data = message.get("data")
        if isinstance(data, dict):
            data["error"] = SHOWN_ERROR
