"""The protobuf wire format, compared with Pipecat's schema and serializer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import Frame as PipecatFrame
from pipecat.frames.frames import InterruptionFrame as PipecatInterruption
from pipecat.frames.frames import OutputAudioRawFrame, OutputTransportMessageFrame
from pipecat.frames.protobufs import frames_pb2 as pipecat_pb2
from pipecat.serializers.protobuf import ProtobufFrameSerializer

from client.wire import AudioFrame, Frame, Interruption, RTVIMessage, WireError, decode, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
audio = st.builds(
    lambda samples, channels, rate: AudioFrame(bytes(2 * samples * channels), rate, channels),
    st.integers(0, 400),
    st.integers(1, 4),
    st.integers(1, 2**32 - 1),
)
messages = st.builds(RTVIMessage, st.text(), json_values, st.text())


@given(audio | messages | st.just(Interruption()))
def test_every_frame_round_trips(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=200))
def test_any_bytes_yield_a_frame_or_a_wire_error(raw: bytes) -> None:
    try:
        decode(raw)
    except WireError as problem:
        assert str(problem)


@given(audio | messages | st.just(Interruption()))
def test_pipecat_schema_reads_our_frames(frame: Frame) -> None:
    proto = pipecat_pb2.Frame.FromString(encode(frame))
    match frame:
        case AudioFrame(pcm, rate, channels):
            assert proto.WhichOneof("frame") == "audio"
            read = (proto.audio.audio, proto.audio.sample_rate, proto.audio.num_channels)
            assert read == (pcm, rate, channels)
        case RTVIMessage(kind, _, _):
            assert json.loads(proto.message.data)["type"] == kind
        case Interruption():
            assert proto.WhichOneof("frame") == "interruption"


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (
            OutputAudioRawFrame(audio=b"\1\0\2\0", sample_rate=24000, num_channels=1),
            AudioFrame(b"\1\0\2\0", 24000, 1),
        ),
        (
            OutputTransportMessageFrame(message={"label": "rtvi-ai", "type": "bot-ready"}),
            RTVIMessage("bot-ready"),
        ),
        (PipecatInterruption(), Interruption()),
    ],
)
async def test_frames_of_pipecats_serializer_are_decoded(
    sent: PipecatFrame, received: Frame
) -> None:
    raw = await ProtobufFrameSerializer().serialize(sent)
    assert raw is not None
    assert decode(raw) == received


def test_our_schema_has_pipecats_field_numbers_and_types() -> None:
    ours = pipecat_pb2.DESCRIPTOR.pool.FindFileByName("client/frames.proto")
    for name, message in ours.message_types_by_name.items():
        theirs = pipecat_pb2.DESCRIPTOR.message_types_by_name[name]
        for field in message.fields:
            twin = theirs.fields_by_name[field.name]
            assert (twin.number, twin.type) == (field.number, field.type)


def pipecat_message(text: str) -> bytes:
    proto = pipecat_pb2.Frame()
    proto.message.data = text
    raw: bytes = proto.SerializeToString()
    return raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("text", "a text message; frames are binary"),
        (b"\xff\xff\xff", "not a protobuf frame"),
        (b"", "a frame of an unknown kind"),
        (pipecat_pb2.Frame(text=pipecat_pb2.TextFrame(text="hi")).SerializeToString(), "unknown"),
        (pipecat_message("{"), "not JSON"),
        (pipecat_message("[" * 100_000), "not JSON"),
        (pipecat_message('{"type": "bot-ready"}'), "not RTVI"),
        (pipecat_message("[]"), "not RTVI"),
        (pipecat_message('{"label": "rtvi-ai", "type": 3}'), "without a type"),
        (encode(AudioFrame(b"\0\0\0")), "not a whole number of samples"),
        (encode(AudioFrame(b"\0\0", rate=0)), "without a sample rate"),
        (encode(AudioFrame(b"", channels=0)), "without a sample rate or channel count"),
    ],
)
def test_invalid_frame_is_named(raw: bytes | str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        decode(raw)


def test_text_field_of_another_type_is_empty() -> None:
    assert RTVIMessage("x", {"text": "hello"}).text() == "hello"
    assert RTVIMessage("x", {"text": 3}).text() == ""
    assert RTVIMessage("x", ["text"]).text() == ""
