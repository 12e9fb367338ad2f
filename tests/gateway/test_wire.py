"""What a client may send, and what it gets to see of errors."""

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

from appliance.errors import BadFrame, FrameTooBig, SessionEnded, TooFast
from appliance.gateway.wire import Bucket, Guard, GuardedSerializer
from appliance.settings import GatewayConfig
from client import wire

protos: Any = frames_pb2  # Pipecat's schema as any client SDK uses it


def guard(**knobs: Any) -> Guard:
    return Guard(GatewayConfig(**knobs))


def audio(pcm: bytes, rate: int = 16_000, channels: int = 1) -> bytes:
    frame = protos.Frame()
    frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = pcm, rate, channels
    return bytes(frame.SerializeToString())


def message(body: object) -> bytes:
    frame = protos.Frame()
    frame.message.data = body if isinstance(body, str) else json.dumps(body)
    return bytes(frame.SerializeToString())


def rtvi(kind: object, data: object = None, number: object = "1") -> bytes:
    return message({"label": "rtvi-ai", "type": kind, "id": number, "data": data})


def read_message(data: bytes) -> Any:
    frame = guard().read(data, 0.0)
    assert isinstance(frame, InputTransportMessageFrame)
    return frame.message


@given(st.binary(max_size=300) | st.text(max_size=50))
def test_of_any_bytes_only_documented_errors_come(data: bytes | str) -> None:
    reader = guard()
    with contextlib.suppress(SessionEnded):
        reader.read(data, 0.0)


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
    number=_json,
    data=_json | st.fixed_dictionaries({"content": _json, "about": _json, "version": _json}),
)
def test_of_any_message_only_documented_errors_and_clean_fields_come(
    kind: object, number: object, data: object
) -> None:
    try:
        frame = guard().read(rtvi(kind, data, number), 0.0)
    except SessionEnded:
        return
    if isinstance(frame, InputTransportMessageFrame):
        assert set(frame.message) == {"label", "type", "id", "data"}
        assert frame.message["type"] in ("client-ready", "send-text", "disconnect-bot")
        assert len(frame.message["id"]) <= 100


@pytest.mark.parametrize("field", ["type", "id", "data", "version", "about"])
def test_no_depth_of_nesting_gets_through(field: str) -> None:
    for depth in range(850, 1000):
        nested = "[" * depth + "]" * depth
        inside = f'"{field}": {nested}'
        outer = inside if field in ("type", "id", "data") else f'"data": {{{inside}}}'
        kind = "" if field == "type" else '"type": "client-ready", '
        with contextlib.suppress(SessionEnded):
            guard().read(message(f'{{"label": "rtvi-ai", {kind}{outer}}}'), 0.0)


def test_speech_of_the_one_format_gets_through() -> None:
    pcm = b"\1\2" * 640
    frame = guard().read(audio(pcm), 0.0)
    assert isinstance(frame, InputAudioRawFrame)
    assert (frame.audio, frame.sample_rate, frame.num_channels) == (pcm, 16_000, 1)
    assert guard().read(wire.encode(wire.Audio(pcm)), 0.0) is not None


def test_an_empty_audio_frame_is_nothing() -> None:
    assert guard().read(audio(b""), 0.0) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (audio(bytes(8), rate=48_000), "48000 Hz"),
        (audio(bytes(8), rate=0), "0 Hz"),
        (audio(bytes(8), channels=2), "2 channels"),
        (audio(bytes(7)), "half an audio sample"),
        ("a text message", "text message"),
        (b"", "kind none"),
        (b"\xff\xff\xff", "no protobuf"),
        (message("{"), "no JSON"),
        (message("[" * 5_000), "no JSON"),
        (message("[]"), "not RTVI"),
        (message({"label": "other", "type": "client-ready"}), "not RTVI"),
        (rtvi("send-text", {"content": ""}), "empty or too long"),
        (rtvi("send-text", {"content": " \n"}), "empty or too long"),
        (rtvi("send-text", {"content": 5}), "empty or too long"),
        (rtvi("send-text", None), "empty or too long"),
        (rtvi("send-text", {"content": "x" * 4_001}), "empty or too long"),
        (rtvi("send-text", {"content": "half: \ud83d"}), "no Unicode"),
    ],
)
def test_what_is_not_allowed_is_named(data: bytes | str, what: str) -> None:
    with pytest.raises(BadFrame, match=what):
        guard().read(data, 0.0)


@pytest.mark.parametrize("kind", ["text", "transcription", "interruption"])
def test_nobody_puts_words_into_anybodys_mouth(kind: str) -> None:
    frame = protos.Frame()
    getattr(frame, kind).SetInParent()
    with pytest.raises(BadFrame, match=kind):
        guard().read(frame.SerializeToString(), 0.0)


@pytest.mark.parametrize(
    "kind",
    [
        "llm-function-call-result", "send-file", "raw-audio", "raw-audio-batch", "dtmf",
        "client-message", "ui-event", "action", "describe-config", "append-to-context", "error",
    ],
)  # fmt: skip
def test_other_messages_of_client_sdks_are_dropped(kind: str) -> None:
    assert guard().read(rtvi(kind, {"function_name": "f", "result": "forged"}), 0.0) is None


def test_typed_text_keeps_its_text_and_loses_its_options() -> None:
    given = {"content": "Grüß dich, 世界", "options": {"audio_response": False}, "more": 1}
    assert read_message(rtvi("send-text", given))["data"] == {
        "content": "Grüß dich, 世界",
        "options": {"run_immediately": True, "audio_response": True},
    }


def test_a_client_introduces_itself_in_few_words() -> None:
    about = {"library": "x" * 1000, "platform": "y"}
    shown = read_message(rtvi("client-ready", {"version": "2.0.0", "about": about}, 7))
    assert shown["id"] == "7"
    assert shown["data"] == {"version": "2.0.0", "about": {"library": "x" * 50}}


def test_a_client_may_tell_that_the_reply_sounds_and_nothing_with_it() -> None:
    told = {"t": "playback-started", "d": {"turn": 7, "text": "x" * 1000}, "more": 1}
    assert read_message(rtvi("client-message", told))["data"] == {"t": "playback-started"}


@pytest.mark.parametrize("told", [None, {}, {"t": "other"}, {"t": ["playback-started"]}, "x"])
def test_other_messages_of_a_client_s_own_are_dropped(told: object) -> None:
    assert guard().read(rtvi("client-message", told), 0.0) is None


def test_a_frame_above_the_limit_is_too_big() -> None:
    with pytest.raises(FrameTooBig, match="1000"):
        guard(max_frame_bytes=1_000).read(audio(bytes(1_000)), 0.0)


def test_audio_at_the_pace_of_speech_goes_on_for_ever_and_faster_does_not() -> None:
    paced, hasty = guard(), guard()
    second = audio(bytes(12_800))  # 0.4 s
    for number in range(1_000):
        paced.read(second, number * 0.4)
    with pytest.raises(TooFast):
        for number in range(1_000):
            hasty.read(second, number * 0.1)


@pytest.mark.parametrize("pcm", [b"", b"\0\0"])
def test_a_flood_of_tiny_frames_is_too_fast(pcm: bytes) -> None:
    flooded = guard()
    with pytest.raises(TooFast):
        for _ in range(1_000):
            flooded.read(audio(pcm), 0.0)


def test_a_flood_of_messages_is_too_fast_even_when_they_are_dropped() -> None:
    flooded = guard()
    with pytest.raises(TooFast):
        for _ in range(100):
            flooded.read(rtvi("raw-audio"), 0.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=30))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(
    steps: list[tuple[float, float]],
) -> None:
    bucket, now, taken = Bucket(rate=2, burst=5), 0.0, 0.0
    for tokens, pause in steps:
        now += pause
        if bucket.take(tokens, now):
            taken += tokens
        assert taken <= 5 + 2 * now + 1e-6


async def test_after_a_violation_nothing_gets_through_any_more() -> None:
    violations: list[SessionEnded] = []
    serializer = GuardedSerializer(GatewayConfig(), violations.append, clock=lambda: 0.0)
    assert await serializer.deserialize(audio(bytes(640))) is not None
    assert await serializer.deserialize(b"\xff") is None
    assert await serializer.deserialize(audio(bytes(640))) is None
    assert await serializer.deserialize(b"\xff") is None
    assert [problem.close_code for problem in violations] == [1008]


@pytest.mark.parametrize("kind", ["error", "error-response"])
async def test_texts_of_exceptions_never_leave(kind: str) -> None:
    serializer = GuardedSerializer(GatewayConfig(), lambda problem: None)
    body = {"label": "rtvi-ai", "type": kind, "id": "1", "data": {"error": "secret /path: x"}}
    sent = await serializer.serialize(OutputTransportMessageUrgentFrame(message=body))
    assert isinstance(sent, bytes)
    shown = wire.decode(sent)
    assert isinstance(shown, wire.Message)
    assert "secret" not in repr(shown)
    assert shown.text("error")


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
async def test_without_words_nothing_gets_out_that_may_hold_any(frame: Frame) -> None:
    strict = GuardedSerializer(GatewayConfig(), lambda problem: None, words=False)
    assert await strict.serialize(frame) is None
    assert await GuardedSerializer(GatewayConfig(), lambda problem: None).serialize(frame)


@pytest.mark.parametrize(
    "frame",
    [
        OutputTransportMessageUrgentFrame({"label": "rtvi-ai", "type": "bot-stopped-speaking"}),
        OutputAudioRawFrame(bytes(640), 24_000, 1),
        InterruptionFrame(),
    ],
)
async def test_without_words_sound_and_what_happens_still_get_out(frame: Frame) -> None:
    strict = GuardedSerializer(GatewayConfig(), lambda problem: None, words=False)
    assert await strict.serialize(frame)
