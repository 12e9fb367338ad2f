"""Decoding of client messages and encoding of gateway messages."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    TextFrame,
    TranscriptionFrame,
)
from pipecat.frames.protobufs import frames_pb2
from pipecat.serializers.protobuf import ProtobufFrameSerializer

from appliance.errors import BadFrame, FrameTooBig, SessionEnded, TooFast
from appliance.gateway.wire import (
    AnsweredMessage,
    ClientFrameDecoder,
    GuardedSerializer,
    UnsupportedMessage,
)
from appliance.settings import GatewayConfig
from client import wire

protos: Any = frames_pb2  # Pipecat's schema, which client SDKs use


def decoder(**settings: Any) -> ClientFrameDecoder:
    return ClientFrameDecoder(GatewayConfig(**settings))


def audio(pcm: bytes, rate: int = 16_000, channels: int = 1) -> bytes:
    frame = protos.Frame()
    frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = pcm, rate, channels
    return bytes(frame.SerializeToString())


def message(body: object) -> bytes:
    frame = protos.Frame()
    frame.message.data = body if isinstance(body, str) else json.dumps(body)
    return bytes(frame.SerializeToString())


def rtvi(kind: object, data: object = None, message_id: object = "1") -> bytes:
    return message({"label": "rtvi-ai", "type": kind, "id": message_id, "data": data})


def decode_message(data: bytes) -> Any:
    frame = decoder().decode(data, 0.0)
    assert isinstance(frame, InputTransportMessageFrame)
    return frame.message


@given(st.binary(max_size=300) | st.text(max_size=50))
def test_arbitrary_bytes_raise_documented_errors_only(data: bytes | str) -> None:
    with contextlib.suppress(SessionEnded, AnsweredMessage):
        decoder().decode(data, 0.0)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    kind=_json
    | st.sampled_from(
        ["client-ready", "send-text", "disconnect-bot", "send-file", "client-message"]
    ),
    message_id=_json,
    data=_json | st.fixed_dictionaries({"content": _json, "about": _json, "version": _json}),
)
def test_arbitrary_messages_raise_documented_errors_or_become_clean_fields(
    kind: object, message_id: object, data: object
) -> None:
    try:
        frame = decoder().decode(rtvi(kind, data, message_id), 0.0)
    except (SessionEnded, AnsweredMessage):
        return
    if isinstance(frame, InputTransportMessageFrame):
        assert set(frame.message) == {"label", "type", "id", "data"}
        assert frame.message["type"] in ("client-ready", "send-text", "disconnect-bot")
        assert len(frame.message["id"]) <= 100


@pytest.mark.parametrize("field", ["type", "id", "data", "version", "about"])
def test_deeply_nested_json_raises_documented_errors_only(field: str) -> None:
    for depth in range(850, 1000):
        nested = "[" * depth + "]" * depth
        field_json = f'"{field}": {nested}'
        outer = field_json if field in ("type", "id", "data") else f'"data": {{{field_json}}}'
        kind = "" if field == "type" else '"type": "client-ready", '
        with contextlib.suppress(SessionEnded, AnsweredMessage):
            decoder().decode(message(f'{{"label": "rtvi-ai", {kind}{outer}}}'), 0.0)


def test_audio_of_the_documented_format_is_accepted() -> None:
    pcm = b"\1\2" * 640
    frame = decoder().decode(audio(pcm), 0.0)
    assert isinstance(frame, InputAudioRawFrame)
    assert (frame.audio, frame.sample_rate, frame.num_channels) == (pcm, 16_000, 1)
    assert decoder().decode(wire.encode(wire.AudioFrame(pcm)), 0.0) is not None


def test_empty_audio_frame_is_dropped() -> None:
    assert decoder().decode(audio(b""), 0.0) is None


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (audio(bytes(8), rate=48_000), "48000 Hz instead of 16000 Hz"),
        (audio(bytes(8), rate=24_000), "24000 Hz"),
        (audio(bytes(8), rate=0), "0 Hz"),
        (audio(bytes(8), channels=2), "2 channels"),
        (audio(bytes(7)), "half an audio sample"),
        (audio(b"RIFF\x24\x05\0\0WAVEfmt " + bytes(40)), "WAV header"),
        ("a text message", "text message"),
        (b"", "kind none"),
        (b"\xff\xff\xff", "not a protobuf"),
        (message("{"), "not JSON"),
        (message("[" * 5_000), "not JSON"),
        (message("[]"), "not RTVI"),
        (message({"label": "other", "type": "client-ready"}), "not RTVI"),
        (rtvi("send-text", {"content": ""}), "empty or too long"),
        (rtvi("send-text", {"content": " \n"}), "empty or too long"),
        (rtvi("send-text", {"content": 5}), "empty or too long"),
        (rtvi("send-text", None), "empty or too long"),
        (rtvi("send-text", {"content": "x" * 4_001}), "empty or too long"),
        (rtvi("send-text", {"content": "half: \ud83d"}), "not Unicode"),
    ],
)
def test_error_names_the_violation(data: bytes | str, match: str) -> None:
    with pytest.raises(BadFrame, match=match):
        decoder().decode(data, 0.0)


@pytest.mark.parametrize("kind", ["text", "transcription", "interruption"])
def test_frames_that_inject_text_or_interruptions_are_refused(kind: str) -> None:
    frame = protos.Frame()
    getattr(frame, kind).SetInParent()
    with pytest.raises(BadFrame, match=kind):
        decoder().decode(frame.SerializeToString(), 0.0)


@pytest.mark.parametrize(
    "kind",
    [
        "llm-function-call-result", "send-file", "raw-audio", "raw-audio-batch", "dtmf",
        "client-message", "ui-event", "action", "describe-config", "append-to-context",
    ],
)  # fmt: skip
def test_unsupported_messages_of_client_sdks_are_answered_by_name(kind: str) -> None:
    data = {"function_name": "f", "result": "forged"}
    with pytest.raises(UnsupportedMessage) as refused:
        decoder().decode(rtvi(kind, data, "7"), 0.0)
    assert refused.value.answer["type"] == "error-response"
    assert refused.value.answer["id"] == "7"
    assert repr(kind) in refused.value.answer["data"]["error"]


@pytest.mark.parametrize("kind", ["error", "error-response"])
def test_errors_of_the_client_are_neither_answered_nor_counted(kind: str) -> None:
    """Two programs that refuse each other's messages would go on for ever."""
    one = decoder()
    for _ in range(1_000):
        assert one.decode(rtvi(kind, {"error": "Unsupported type bot-llm-text"}), 0.0) is None
    long = rtvi(kind, {"error": "x" * 1_000})
    with pytest.raises(TooFast):
        for _ in range(1_000):
            with contextlib.suppress(UnsupportedMessage):
                one.decode(long, 0.0)


async def test_answer_to_an_unsupported_message_reaches_the_client_in_words() -> None:
    answers: list[dict[str, Any]] = []

    async def note(answer: dict[str, Any]) -> None:
        answers.append(answer)

    serializer = GuardedSerializer(GatewayConfig(), lambda error: None, on_answer=note)
    assert await serializer.deserialize(rtvi("describe-config\n" + "x" * 500)) is None
    (answer,) = answers
    sent = await serializer.serialize(OutputTransportMessageUrgentFrame(message=answer))
    assert isinstance(sent, bytes)
    received = wire.decode(sent)
    assert isinstance(received, wire.RTVIMessage)
    assert "describe-config" in received.text("error")
    assert "\n" not in received.text("error")
    assert len(received.text("error")) < 200


def test_message_without_a_type_is_refused() -> None:
    with pytest.raises(BadFrame, match="without a type"):
        decoder().decode(rtvi(None), 0.0)


def test_typed_text_keeps_its_content_only() -> None:
    data = {"content": "Grüß dich, 世界", "options": {"audio_response": False}, "more": 1}
    assert decode_message(rtvi("send-text", data))["data"] == {
        "content": "Grüß dich, 世界",
        "options": {"run_immediately": True, "audio_response": True},
    }


def test_client_ready_is_shortened() -> None:
    about = {"library": "x" * 1000, "platform": "y"}
    message = decode_message(rtvi("client-ready", {"version": "2.0.0", "about": about}, 7))
    assert message["id"] == "7"
    assert message["data"] == {"version": "2.0.0", "about": {"library": "x" * 50}}


def test_playback_report_drops_all_other_fields() -> None:
    data = {"t": "playback-started", "d": {"turn": 7, "text": "x" * 1000}, "more": 1}
    assert decode_message(rtvi("client-message", data))["data"] == {"t": "playback-started"}


async def test_ping_is_answered_with_its_id_and_goes_no_further() -> None:
    answers: list[dict[str, Any]] = []

    async def note(answer: dict[str, Any]) -> None:
        answers.append(answer)

    serializer = GuardedSerializer(
        GatewayConfig(), lambda error: None, on_answer=note, transcripts=False
    )
    assert await serializer.deserialize(rtvi("client-message", {"t": "ping"}, "5")) is None
    (answer,) = answers
    sent = await serializer.serialize(OutputTransportMessageUrgentFrame(message=answer))
    assert isinstance(sent, bytes)
    assert wire.decode(sent) == wire.RTVIMessage("server-response", {"t": "ping", "d": {}}, "5")


@pytest.mark.parametrize("data", [None, {}, {"t": "other"}, {"t": ["playback-started"]}, "x"])
def test_other_client_messages_are_not_supported(data: object) -> None:
    with pytest.raises(UnsupportedMessage):
        decoder().decode(rtvi("client-message", data), 0.0)


def test_frame_above_the_limit_is_too_big() -> None:
    with pytest.raises(FrameTooBig, match="2000"):
        decoder(max_frame_bytes=2_000).decode(audio(bytes(2_000)), 0.0)


def test_audio_at_real_time_is_accepted_and_faster_audio_is_not() -> None:
    paced, too_fast = decoder(), decoder()
    chunk = audio(bytes(12_800))  # 0.4 s
    for number in range(1_000):
        assert paced.decode(chunk, number * 0.4) is not None
    with pytest.raises(TooFast):
        for number in range(1_000):
            too_fast.decode(chunk, number * 0.1)


@pytest.mark.parametrize("pcm", [b"", b"\0\0"])
def test_flood_of_tiny_frames_is_too_fast(pcm: bytes) -> None:
    flooded = decoder()
    with pytest.raises(TooFast):
        for _ in range(20_000):
            flooded.decode(audio(pcm), 0.0)


def test_flood_of_dropped_messages_is_too_fast() -> None:
    flooded = decoder()
    with pytest.raises(TooFast):
        for _ in range(100):
            with contextlib.suppress(UnsupportedMessage):
                flooded.decode(rtvi("raw-audio"), 0.0)


async def test_after_a_violation_everything_is_dropped() -> None:
    violations: list[SessionEnded] = []
    serializer = GuardedSerializer(GatewayConfig(), violations.append, clock=lambda: 0.0)
    assert await serializer.deserialize(audio(bytes(640))) is not None
    assert await serializer.deserialize(b"\xff") is None
    assert await serializer.deserialize(audio(bytes(640))) is None
    assert await serializer.deserialize(b"\xff") is None
    assert [error.close_code for error in violations] == [1008]


@pytest.mark.parametrize("kind", ["error", "error-response"])
async def test_exception_messages_are_not_sent(kind: str) -> None:
    serializer = GuardedSerializer(GatewayConfig(), lambda error: None)
    body = {"label": "rtvi-ai", "type": kind, "id": "1", "data": {"error": "secret /path: x"}}
    sent = await serializer.serialize(OutputTransportMessageUrgentFrame(message=body))
    assert isinstance(sent, bytes)
    received = wire.decode(sent)
    assert isinstance(received, wire.RTVIMessage)
    assert "secret" not in repr(received)
    assert received.text("error")


@pytest.mark.parametrize(
    "frame",
    [
        OutputTransportMessageFrame({"label": "rtvi-ai", "type": "bot-llm-text", "data": {}}),
        OutputTransportMessageUrgentFrame({"label": "rtvi-ai", "type": "something-new"}),
        OutputTransportMessageUrgentFrame("free text"),
        TextFrame("said"),
        TranscriptionFrame("said", "", ""),
    ],
)
async def test_disabled_transcripts_suppress_frames_that_may_contain_words(frame: Frame) -> None:
    strict = GuardedSerializer(GatewayConfig(), lambda error: None, transcripts=False)
    assert await strict.serialize(frame) is None
    assert await GuardedSerializer(GatewayConfig(), lambda error: None).serialize(frame)


@pytest.mark.parametrize(
    "frame",
    [
        OutputTransportMessageUrgentFrame({"label": "rtvi-ai", "type": "bot-stopped-speaking"}),
        OutputAudioRawFrame(bytes(640), 24_000, 1),
        InterruptionFrame(),
    ],
)
async def test_disabled_transcripts_do_not_suppress_audio_and_events(frame: Frame) -> None:
    strict = GuardedSerializer(GatewayConfig(), lambda error: None, transcripts=False)
    assert await strict.serialize(frame)


async def test_audio_is_encoded_as_by_pipecat() -> None:
    frame = OutputAudioRawFrame(b"\1\2\3\4", 24_000, 1)
    ours = await GuardedSerializer(GatewayConfig(), lambda error: None).serialize(frame)
    assert ours == await ProtobufFrameSerializer().serialize(frame)
