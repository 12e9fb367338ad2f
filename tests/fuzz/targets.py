"""What is fed with random bytes. A function raises if a property does not hold.

Each is run with a few examples in every test run, and for as long as wanted by ops/fuzz.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pipecat.frames.protobufs.frames_pb2 as frame_protos
from pipecat.frames.frames import InputAudioRawFrame, InputTransportMessageFrame

from appliance.access import signed, store, token
from appliance.access.presented import presented
from appliance.errors import SessionEnded
from appliance.gateway.realtime import client_events, server_events
from appliance.gateway.realtime.config import SessionConfig
from appliance.gateway.wire import MAX_TEXT_CHARS, ClientFrameDecoder, UnsupportedMessage
from appliance.settings import GatewayConfig
from appliance.web.limits import MAX_HEAD_BYTES, HeadReader, HeadTooLarge

HEAD = b"GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n"
READY = '{"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": {"version": "2.0.0"}}'
TEXT = '{"label": "rtvi-ai", "type": "send-text", "id": "2", "data": {"content": "Hello."}}'
MAX_ANSWER_CHARS = 2_000  # of the answer to an event that is refused
WRAPPED = b"m"  # first byte of an input that is the text of a message, in a right frame
KEY = bytes(store.KEY_BYTES)
REALTIME = SessionConfig("model", "af_heart", transcripts=True, client_settings=True)


@dataclass(frozen=True, slots=True)
class Target:
    """A function that takes any bytes, the modules it tests, and inputs to begin with."""

    feed: Callable[[bytes], None]
    modules: Sequence[str]
    seeds: Sequence[bytes]


def feed_frame(data: bytes) -> None:
    """Decode a WebSocket message: it is one of two kinds of frames, or ends the session."""
    config = GatewayConfig()
    if data.startswith(WRAPPED):
        text = data[1:].decode("utf-8", "replace")
        message = frame_protos.Frame(message=frame_protos.MessageFrame(data=text))
        data = message.SerializeToString()
    try:
        frame = ClientFrameDecoder(config).decode(data, 0.0)
    except (SessionEnded, UnsupportedMessage):
        return
    if isinstance(frame, InputAudioRawFrame):
        assert len(frame.audio) % 2 == 0 and len(frame.audio) <= config.max_frame_bytes
        assert (frame.sample_rate, frame.num_channels) == (16_000, 1)
    elif frame is not None:
        assert isinstance(frame, InputTransportMessageFrame)
        content = frame.message["data"].get("content", "")
        assert len(content) <= MAX_TEXT_CHARS
        content.encode()


def feed_head(data: bytes) -> None:
    """Read a head in pieces: the result is that of one piece, and no more is kept than allowed.

    The bytes up to the first zero are the lengths of the pieces.
    """
    lengths, _, content = data.partition(b"\0")
    whole = _outcome(HeadReader(), [content])
    pieces, rest = [], content
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    assert _outcome(HeadReader(), [*pieces, rest]) == whole


def _outcome(reader: HeadReader, pieces: Sequence[bytes]) -> tuple[bytes, bytes] | str | None:
    """Return the head and what follows it, why there is none, or None if it is not complete."""
    for number, piece in enumerate(pieces):
        try:
            found = reader.feed(piece)
        except HeadTooLarge:
            return "too large"
        if found is not None:
            assert len(found[0]) <= MAX_HEAD_BYTES
            return found[0], found[1] + b"".join(pieces[number + 1 :])
    return None


def feed_proof(data: bytes) -> None:
    """Read what a request presents, and the file of the tokens: nothing but BadStore is raised."""
    text = data.decode("latin-1")
    for proof in (presented([text]), presented([], [text]), presented([], [], [text])):
        signed.read(proof.text)
        parts = token.read_text(proof.text)
        if parts is not None:
            written = f"va.{parts.id}.{token.encode(parts.secret)}.{token.encode(parts.tag)}"
            assert written == proof.text  # a token has one text
    try:
        found = store.read(text)
    except store.BadStore:
        return
    assert store.read(store.write(found)) == found


def _proofs() -> list[bytes]:
    filled, text = store.new_store(bytes).create("ward-3", 0, bytes)
    ticket = signed.sign(signed.TICKET, "0" * 12, 1, bytes(signed.NONCE_BYTES), KEY)
    texts = (f"Bearer {text}", ticket, f"__Host-voice={ticket}", store.write(filled))
    return [each.encode() for each in texts]


def feed_event(data: bytes) -> None:
    """Decode an event of a Realtime client: it is known, or refused with an answer for sending."""
    config = REALTIME
    try:
        event = client_events.decode(data.decode("utf-8", "replace"))
        if isinstance(event, client_events.SessionUpdate):
            config = config.updated(event.session)
    except client_events.RefusedEvent as refused:
        answer = server_events.error(str(refused.problem), refused.problem.reason, refused.param)
        text = server_events.encode(answer, 1, beta=False)
        assert text is not None and len(text) < MAX_ANSWER_CHARS
        return
    json.dumps(config.session("s", 1, beta=False))
    if isinstance(event, client_events.ItemCreate):
        assert len(event.text) <= client_events.MAX_TEXT_CHARS and len(event.pcm) % 2 == 0
        event.text.encode()


def _events() -> list[bytes]:
    part = {"type": "input_text", "text": "Hello"}
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    # fmt: off
    examples = (
        {"type": "input_audio_buffer.append", "audio": "AAEC/w=="},
        {"type": "conversation.item.create", "event_id": "e",
         "item": {"type": "message", "role": "user", "content": [part]}},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0,
         "audio_end_ms": 9},
        {"type": "response.create", "response": {"metadata": {"a": "b"}}},
        {"type": "session.update", "session": {"instructions": "Be brief.", "tools": [function],
         "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}},
    )
    # fmt: on
    return [json.dumps(each).encode() for each in examples]


def feed_planted(data: bytes) -> None:
    """Fail for one first byte: whoever runs the targets has to notice that."""
    assert not data.startswith(b"\x7f")


def _frames() -> list[bytes]:
    audio = frame_protos.AudioRawFrame(audio=bytes(640), sample_rate=16_000, num_channels=1)
    return [
        frame_protos.Frame(audio=audio).SerializeToString(),
        *(WRAPPED + text.encode() for text in (READY, TEXT)),
    ]


TARGETS = {
    "frame": Target(
        feed_frame, ["appliance.gateway.wire", "appliance.gateway.input_pace"], _frames()
    ),
    "head": Target(feed_head, ["appliance.web.limits"], [b"\0" + HEAD, b"\x05\x01\0" + HEAD * 2]),
    "proof": Target(
        feed_proof,
        ["appliance.access.presented", "appliance.access.signed", "appliance.access.store"],
        _proofs(),
    ),
    "event": Target(
        feed_event,
        [
            "appliance.gateway.realtime.client_events",
            "appliance.gateway.realtime.config",
            "appliance.gateway.realtime.tools",
        ],
        _events(),
    ),
}
PLANTED = Target(feed_planted, [], [b"x"])
