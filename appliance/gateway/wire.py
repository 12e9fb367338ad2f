"""The client protocol: what a client may send and receive. See docs/client-protocol.md.

Pipecat's protobuf serializer trusts its client. It would speak the text frames of a client, accept
its transcriptions as the user's words, play 48 kHz stereo as 16 kHz mono, and keep any amount of
audio in memory. `ClientFrameDecoder` accepts only audio of one format and a few RTVI messages, at
the pace of speech. RTVI messages that are not supported are answered with an `error-response`;
everything else ends the session with a close code.
`GuardedSerializer` plugs the decoder into Pipecat and filters the output. It also removes a
constant offset of the microphone, before any part of the gateway or an engine gets the audio.
No I/O.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
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
from pipecat.processors.frameworks.rtvi.observer import RTVIObserverParams
from pipecat.serializers.protobuf import ProtobufFrameSerializer

from appliance.errors import BadFrame, FrameTooBig, SessionEnded, TooFast
from appliance.gateway.dc_offset import OffsetFilter
from appliance.gateway.input_pace import InputPace
from appliance.gateway.rate_limit import TokenBucket
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import GatewayConfig

RTVI_LABEL = "rtvi-ai"
PLAYBACK_STARTED = "playback-started"  # the client-message that the reply has become audible
PING = "ping"  # the client-message of clients that cannot send a WebSocket ping, such as browsers

MESSAGES_PER_SECOND = 10.0  # far more than a client with a typing user sends
MESSAGES_BURST = 30.0
MAX_TEXT_CHARS = 4_000
MAX_ID_CHARS = 100
MAX_VERSION_CHARS = 20
MAX_LIBRARY_CHARS = 50

# Types of RTVI messages that report an event and contain no words of the session.
EVENT_MESSAGES = frozenset(
    {
        *("bot-ready", "error", "error-response", "server-message", "server-response"),
        "bot-interrupted",
        *("user-started-speaking", "user-stopped-speaking"),
        *("bot-started-speaking", "bot-stopped-speaking"),
        *("bot-llm-started", "bot-llm-stopped", "bot-tts-started", "bot-tts-stopped"),
    }
)
PUBLIC_ERROR = "Something went wrong; the call goes on."
UNSUPPORTED = "This appliance does not support"
MAX_TYPE_CHARS = 60  # of a message type that is named in an answer
# Errors that a client sends, which are dropped. A Pipecat program whose own RTVI processor is on
# refuses each message of the gateway, in about 130 characters.
ERROR_TYPES = frozenset({"error", "error-response"})
MAX_ERROR_CHARS = 500
WAV_HEADER_BYTES = 12


def server_message(kind: str) -> dict[str, Any]:
    """Return an RTVI server message of this kind, without words of the session."""
    return {"label": RTVI_LABEL, "type": "server-message", "data": {"kind": kind}}


def unsupported(kind: str, message_id: str) -> dict[str, Any]:
    """Return the RTVI answer to a message of this kind, because the client may wait for one."""
    named = "".join(char for char in kind[:MAX_TYPE_CHARS] if char.isprintable())
    return {
        "label": RTVI_LABEL,
        "type": "error-response",
        "id": message_id,
        "data": {"error": f"{UNSUPPORTED} messages of the type {named!r}."},
    }


class AnsweredMessage(Exception):
    """An RTVI message that is answered and not passed on. `answer` is an RTVI message."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["type"])
        self.answer = answer


class UnsupportedMessage(AnsweredMessage):
    """An RTVI message that the gateway does not support."""


class Ping(AnsweredMessage):
    """A client asks whether the gateway is there."""

    def __init__(self, message_id: str) -> None:
        data = {"t": PING, "d": {}}
        super().__init__(
            {"label": RTVI_LABEL, "type": "server-response", "id": message_id, "data": data}
        )


def rtvi_observer_params() -> RTVIObserverParams:
    """Return the settings that select the RTVI messages Pipecat sends to clients."""
    return RTVIObserverParams(
        metrics_enabled=False,  # these messages name processors and models
        user_llm_enabled=False,
        system_logs_enabled=False,
    )


class ClientFrameDecoder:
    """Decodes and validates the messages of one client."""

    def __init__(self, config: GatewayConfig) -> None:
        self._max_bytes = config.max_frame_bytes
        self._pace = InputPace(config.pace_ratio, config.pace_burst_seconds)
        self._message_limit = TokenBucket(MESSAGES_PER_SECOND, MESSAGES_BURST)

    def decode(self, data: bytes | str, now: float) -> Frame | None:
        """Return the frame in a WebSocket message, or None if it is dropped.

        `now` is in monotonic seconds. Raises UnsupportedMessage or Ping, or SessionEnded if the
        message is not allowed.
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
            raise BadFrame(
                what=f"audio of {audio.sample_rate} Hz instead of {INPUT_SAMPLE_RATE} Hz"
            )
        if audio.num_channels != 1:
            raise BadFrame(what=f"audio of {audio.num_channels} channels instead of one")
        if _is_wav(audio.audio):  # an option of Pipecat's WebsocketClientTransport
            raise BadFrame(what="audio with a WAV header instead of bare samples")
        if len(audio.audio) % 2:
            raise BadFrame(what="half an audio sample")
        pcm = self._pace.receive(audio.audio, now)
        return InputAudioRawFrame(pcm, INPUT_SAMPLE_RATE, 1) if pcm else None

    def _decode_message(self, text: str, now: float) -> Frame | None:
        if _is_error(text):
            return None
        if not self._message_limit.take(1, now):
            raise TooFast
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise BadFrame(what="a message that is not JSON") from None
        if not isinstance(message, dict) or message.get("label") != RTVI_LABEL:
            raise BadFrame(what="a message that is not RTVI")
        kind, message_id, data = message.get("type"), message.get("id"), message.get("data")
        message_id = _truncate(message_id, MAX_ID_CHARS)
        if not isinstance(kind, str):
            raise BadFrame(what="an RTVI message without a type")
        validate = CLIENT_MESSAGES.get(kind)
        valid_data = validate(data if isinstance(data, dict) else {}) if validate else None
        if valid_data is None:
            raise UnsupportedMessage(unsupported(kind, message_id))
        if valid_data.get("t") == PING:
            raise Ping(message_id)
        return InputTransportMessageFrame(
            message={
                "label": RTVI_LABEL,
                "type": kind,
                "id": message_id,
                "data": valid_data,
            }
        )


def _is_wav(data: bytes) -> bool:
    """Return whether the bytes begin as a WAV file does. As samples, this is loud noise."""
    head = data[:WAV_HEADER_BYTES]
    return head[:4] == b"RIFF" and head[8:] == b"WAVE"


def _is_error(text: str) -> bool:
    """Return whether the message is an error. It is not answered: its sender may answer that."""
    if len(text) > MAX_ERROR_CHARS or '"error' not in text:
        return False
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") in ERROR_TYPES


def _client_ready(data: dict[str, Any]) -> dict[str, Any]:
    about = data.get("about")
    library = about.get("library") if isinstance(about, dict) else None
    return {
        "version": _truncate(data.get("version"), MAX_VERSION_CHARS),
        "about": {"library": _truncate(library, MAX_LIBRARY_CHARS)},
    }


def _client_message(data: dict[str, Any]) -> dict[str, Any] | None:
    kind = data.get("t")
    return {"t": kind} if kind in (PLAYBACK_STARTED, PING) else None


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
# None if this message is not supported. It raises SessionEnded for invalid data.
CLIENT_MESSAGES: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "client-ready": _client_ready,
    "client-message": _client_message,
    "send-text": _send_text,
    "disconnect-bot": _disconnect_bot,
}


class GuardedSerializer(ProtobufFrameSerializer):
    """Pipecat's protobuf serializer with checks in both directions.

    on_violation    called with the error that ends the session
    on_audio        called with the direction, "in" or "out", and the size in bytes of passing PCM
    on_answer       called with the RTVI answer to a ping, or a message that is not supported
    transcripts     if false, nothing that could contain words of the session is sent. The
                    content of server messages is decided in turn_report.py, which creates them.
    """

    def __init__(
        self,
        config: GatewayConfig,
        on_violation: Callable[[SessionEnded], None],
        on_audio: Callable[[str, int], None] = lambda _direction, _bytes: None,
        on_answer: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
        transcripts: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._decoder = ClientFrameDecoder(config)
        self._offset = OffsetFilter()
        self._on_violation = on_violation
        self._on_audio = on_audio
        self._on_answer = on_answer
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
        except AnsweredMessage as message:
            if self._on_answer is not None:
                await self._on_answer(message.answer)
            return None
        if isinstance(frame, InputAudioRawFrame):
            self._on_audio("in", len(frame.audio))
            frame.audio = self._offset.remove(frame.audio)
        return frame

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Return the bytes for the client, or None. Texts of exceptions are replaced."""
        if not (self._transcripts or _is_wordless(frame)):
            return None
        if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            _replace_exception_text(frame.message)
        elif isinstance(frame, OutputAudioRawFrame):
            self._on_audio("out", len(frame.audio))
            return encode_audio(frame)
        return await super().serialize(frame)


def encode_audio(frame: OutputAudioRawFrame) -> bytes:
    """Return audio as Pipecat's serializer encodes it, which looks up every field by its name."""
    audio = frame_protos.AudioRawFrame(
        id=frame.id,
        name=frame.name,
        audio=frame.audio,
        sample_rate=frame.sample_rate,
        num_channels=frame.num_channels,
    )
    encoded: bytes = frame_protos.Frame(audio=audio).SerializeToString()
    return encoded


def _is_wordless(frame: Frame) -> bool:
    if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
        return isinstance(frame.message, dict) and frame.message.get("type") in EVENT_MESSAGES
    return isinstance(frame, OutputAudioRawFrame | InterruptionFrame)


def _replace_exception_text(message: Any) -> None:
    if isinstance(message, dict) and message.get("type") in ("error", "error-response"):
        data = message.get("data")
        if isinstance(data, dict) and not str(data.get("error", "")).startswith(UNSUPPORTED):
            data["error"] = PUBLIC_ERROR
