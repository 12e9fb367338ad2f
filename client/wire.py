"""Encodes and decodes the frames of Pipecat's protobuf protocol. No I/O.

A frame contains audio, an interruption, or a message. A message is RTVI JSON (label "rtvi-ai",
protocol 2.x).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from client import frames_pb2

RTVI_LABEL = "rtvi-ai"
RTVI_VERSION = "2.2.0"
PLAYBACK_STARTED = "playback-started"  # `t` of the client-message: the reply is audible
MIC_SAMPLE_RATE = 16_000  # Hz, audio to the appliance
SPEAKER_SAMPLE_RATE = 24_000  # Hz, audio from the appliance
FRAME_SECONDS = 0.04  # 20 ms frames cost the gateway a third more CPU; longer ones delay the turn
MAX_TEXT_CHARS = 4000  # of a typed question; a longer one ends the call
FRAME_SAMPLES = round(MIC_SAMPLE_RATE * FRAME_SECONDS)


class WireError(ValueError):
    """The bytes are not a frame that this client supports; the text says why."""


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """Signed 16 bit little endian PCM, interleaved; `rate` in Hz."""

    pcm: bytes
    rate: int = MIC_SAMPLE_RATE
    channels: int = 1


@dataclass(frozen=True, slots=True)
class RTVIMessage:
    """An RTVI message. `data` is any JSON value; {} if the message contains none."""

    type: str
    data: object = None
    id: str = ""

    def __post_init__(self) -> None:
        if self.data is None:
            object.__setattr__(self, "data", {})

    def text(self, key: str = "text") -> str:
        """Return a text field of `data`; empty if it is absent or not a string."""
        value = self.data.get(key) if isinstance(self.data, dict) else None
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Interruption:
    """The bot was interrupted: drop all audio that has arrived but has not been played."""


Frame = AudioFrame | RTVIMessage | Interruption


def encode(frame: Frame) -> bytes:
    """Serialize a frame."""
    proto = frames_pb2.Frame()
    match frame:
        case AudioFrame(pcm, rate, channels):
            proto.audio.audio = pcm
            proto.audio.sample_rate = rate
            proto.audio.num_channels = channels
        case RTVIMessage(kind, data, message_id):
            body: dict[str, object] = {"label": RTVI_LABEL, "type": kind, "data": data}
            if message_id:
                body["id"] = message_id
            proto.message.data = json.dumps(body)
        case Interruption():
            proto.interruption.SetInParent()
    return proto.SerializeToString()


def decode(raw: bytes | str) -> Frame:
    """Parse the frame in one WebSocket message. Raises WireError."""
    if isinstance(raw, str):
        raise WireError("a text message; frames are binary")
    try:
        proto = frames_pb2.Frame.FromString(raw)
    except DecodeError as error:
        raise WireError("not a protobuf frame") from error
    kind = proto.WhichOneof("frame")
    if kind == "audio":
        return _parse_audio(proto.audio)
    if kind == "message":
        return _parse_message(proto.message.data)
    if kind == "interruption":
        return Interruption()
    raise WireError("a frame of an unknown kind")


def _parse_audio(audio: frames_pb2.AudioRawFrame) -> AudioFrame:
    if audio.sample_rate == 0 or audio.num_channels == 0:
        raise WireError("audio without a sample rate or channel count")
    if len(audio.audio) % (2 * audio.num_channels):
        raise WireError(f"audio of {len(audio.audio)} bytes, not a whole number of samples")
    return AudioFrame(audio.audio, audio.sample_rate, audio.num_channels)


def _parse_message(text: str) -> RTVIMessage:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("a message that is not JSON") from error
    if not isinstance(body, dict) or body.get("label") != RTVI_LABEL:
        raise WireError("a message that is not RTVI")
    kind, message_id = body.get("type"), body.get("id", "")
    if not isinstance(kind, str):
        raise WireError("an RTVI message without a type")
    return RTVIMessage(kind, body.get("data"), message_id if isinstance(message_id, str) else "")
