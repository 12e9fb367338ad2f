"""The client protocol: what a client may send and receive. See docs/client-protocol.md.

Pipecat's protobuf serializer trusts its client. It would speak the text frames of a client, accept
its transcriptions as the user's words, play 48 kHz stereo as 16 kHz mono, and keep any amount of
audio in memory. `ClientFrameDecoder` accepts only audio of one format and a few RTVI messages, at
the pace of speech. Messages that a regular client SDK may send are dropped if they are not
supported; everything else ends the session with a close code.
`GuardedSerializer` plugs the decoder into Pipecat and filters the output. No I/O.
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
from appliance.gateway.rate_limit import TokenBucket
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import GatewayConfig

RTVI_LABEL = "rtvi-ai"
PLAYBACK_STARTED = "playback-started"  # the client-message that the reply has become audible

BYTES_PER_SECOND = INPUT_SAMPLE_RATE * 2
MIN_CHARGED_BYTES = BYTES_PER_SECOND // 200  # 5 ms; a shorter frame costs as much to handle
MESSAGES_PER_SECOND = 10.0  # far more than a client with a typing user sends
MESSAGES_BURST = 30.0
MAX_TEXT_CHARS = 4_000
MAX_ID_CHARS = 100
MAX_VERSION_CHARS = 20
MAX_LIBRARY_CHARS = 50

# Types of RTVI messages that report an event and contain no words of the session.
EVENT_MESSAGES = frozenset(
    {
        *("bot-ready", "error", "error-response", "server-message", "bot-interrupted"),
        *("user-started-speaking", "user-stopped-speaking"),
        *("bot-started-speaking", "bot-stopped-speaking"),
        *("bot-llm-started", "bot-llm-stopped", "bot-tts-started", "bot-tts-stopped"),
    }
)
PUBLIC_ERROR = "Something went wrong; the call goes on."


def server_message(kind: str) -> dict[str, Any]:
    """Return an RTVI server message of this kind, without words of the session."""
    return {"label": RTVI_LABEL, "type": "server-message", "data": {"kind": kind}}


class ClientFrameDecoder:
    """Decodes and validates the messages of one client."""

    def __init__(self, config: GatewayConfig) -> None:
        self._max_bytes = config.max_frame_bytes
        self._audio_limit = TokenBucket(
            BYTES_PER_SECOND * config.pace_ratio, BYTES_PER_SECOND * config.pace_burst_seconds
        )
        self._message_limit = TokenBucket(MESSAGES_PER_SECOND, MESSAGES_BURST)

    def decode(self, data: bytes | str, now: float) -> Frame | None:
        """Return the frame in a WebSocket message, or None if it is dropped.

        `now` is in monotonic seconds. Raises SessionEnded if the message is not allowed.
        """
        if isinstance(data, str):
            raise BadFrame(what="a text message")
        if len(data) > self._max_bytes:
            raise FrameTooBig(size_bytes=len(data), limit_bytes=self._max_bytes)
        try:
            proto = frame_protos.Frame.FromString(data)
        except DecodeError:
            raise BadFrame(what="bytes that are not a protobuf frame") from None
        kind = proto.WhichOneof("frame")
        if kind == "audio":
            return self._decode_audio(proto.audio, now)
        if kind == "message":
            return self._decode_message(proto.message.data, now)
        raise BadFrame(what=f"a frame of kind {kind or 'none'}")

    def _decode_audio(self, audio: Any, now: float) -> Frame | None:
        if audio.sample_rate != INPUT_SAMPLE_RATE:
            raise BadFrame(what=f"audio of {audio.sample_rate} Hz")
        if audio.num_channels != 1:
            raise BadFrame(what=f"audio of {audio.num_channels} channels")
        if len(audio.audio) % 2:
            raise BadFrame(what="half an audio sample")
        if not self._audio_limit.take(max(len(audio.audio), MIN_CHARGED_BYTES), now):
            raise TooFast
        if not audio.audio:
            return None
        return InputAudioRawFrame(audio.audio, INPUT_SAMPLE_RATE, 1)

    def _decode_message(self, text: str, now: float) -> Frame | None:
        if not self._message_limit.take(1, now):
            raise TooFast
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise BadFrame(what="a message that is not JSON") from None
        if not isinstance(message, dict) or message.get("label") != RTVI_LABEL:
            raise BadFrame(what="a message that is not RTVI")
        kind, message_id, data = message.get("type"), message.get("id"), message.get("data")
        validate = CLIENT_MESSAGES.get(kind) if isinstance(kind, str) else None
        valid_data = validate(data if isinstance(data, dict) else {}) if validate else None
        if valid_data is None:
            return None
        return InputTransportMessageFrame(
            message={
                "label": RTVI_LABEL,
                "type": kind,
                "id": _truncate(message_id, MAX_ID_CHARS),
                "data": valid_data,
            }
        )


def _client_ready(data: dict[str, Any]) -> dict[str, Any]:
    about = data.get("about")
    library = about.get("library") if isinstance(about, dict) else None
    return {
        "version": _truncate(data.get("version"), MAX_VERSION_CHARS),
        "about": {"library": _truncate(library, MAX_LIBRARY_CHARS)},
    }


def _client_message(data: dict[str, Any]) -> dict[str, Any] | None:
    return {"t": PLAYBACK_STARTED} if data.get("t") == PLAYBACK_STARTED else None


def _send_text(data: dict[str, Any]) -> dict[str, Any]:
    content = data.get("content")
    if not isinstance(content, str) or not content.strip() or len(content) > MAX_TEXT_CHARS:
        raise BadFrame(what="typed text that is empty or too long")
    try:
        content.encode()  # JSON can contain a lone surrogate, which later steps cannot encode
    except UnicodeEncodeError:
        raise BadFrame(what="typed text that is not Unicode") from None
    return {"content": content, "options": {"run_immediately": True, "audio_response": True}}


def _disconnect_bot(data: dict[str, Any]) -> dict[str, Any]:
    return {}


def _truncate(value: object, max_chars: int) -> str:
    return str(value)[:max_chars] if isinstance(value, str | int) else ""


# The supported message types. Each function returns the fields of `data` that are passed on, or
# None to drop the message. It raises SessionEnded for invalid data.
CLIENT_MESSAGES: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "client-ready": _client_ready,
    "client-message": _client_message,
    "send-text": _send_text,
    "disconnect-bot": _disconnect_bot,
}


class GuardedSerializer(ProtobufFrameSerializer):
    """Pipecat's protobuf serializer with checks in both directions.

    on_violation  called with the error that ends the session
    on_audio      called with the direction, "in" or "out", and the size in bytes of passing PCM
    transcripts   if false, nothing that could contain words of the session is sent. The content
                  of server messages is decided in turn_report.py, which creates them.
    """

    def __init__(
        self,
        config: GatewayConfig,
        on_violation: Callable[[SessionEnded], None],
        on_audio: Callable[[str, int], None] = lambda _direction, _bytes: None,
        transcripts: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._decoder = ClientFrameDecoder(config)
        self._on_violation = on_violation
        self._on_audio = on_audio
        self._transcripts = transcripts
        self._clock = clock
        self._closed = False

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return the frame in a client's message, or None. After a violation it is always None."""
        if self._closed:
            return None
        try:
            frame = self._decoder.decode(data, self._clock())
        except SessionEnded as problem:
            self._closed = True
            self._on_violation(problem)
            return None
        if isinstance(frame, InputAudioRawFrame):
            self._on_audio("in", len(frame.audio))
        return frame

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Return the bytes for the client, or None. Texts of exceptions are replaced."""
        if not (self._transcripts or _is_wordless(frame)):
            return None
        if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            _replace_exception_text(frame.message)
        elif isinstance(frame, OutputAudioRawFrame):
            self._on_audio("out", len(frame.audio))
        return await super().serialize(frame)


def _is_wordless(frame: Frame) -> bool:
    if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
        return isinstance(frame.message, dict) and frame.message.get("type") in EVENT_MESSAGES
    return isinstance(frame, OutputAudioRawFrame | InterruptionFrame)


def _replace_exception_text(message: Any) -> None:
    if isinstance(message, dict) and message.get("type") in ("error", "error-response"):
        data = message.get("data")
        if isinstance(data, dict):
            data["error"] = PUBLIC_ERROR
