"""The link's messages, without I/O."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadRequest
from appliance.link import protocol
from appliance.link.engine import (
    MAX_CONVERSATION_MESSAGES,
    MAX_REPLY_TOKENS,
    MAX_TEXT_CHARS,
    MAX_TOOLS,
    ChatMessage,
    GenerateRequest,
    Result,
    Tool,
    ToolCall,
)

REQUEST = GenerateRequest(
    conversation=(ChatMessage("system", "Be kind."), ChatMessage("user", utterance=1)),
    max_tokens=10,
    temperature=0.5,
    tools=(Tool("end_call", "Hangs up.", "{}"),),
)
SAMPLES: list[protocol.LinkMessage] = [
    protocol.OpenMessage(version=1),
    protocol.BeginMessage(utterance=1),
    protocol.EndMessage(utterance=1),
    protocol.ForgetMessage(utterance=1),
    protocol.GenerateMessage(request=1, generation=REQUEST),
    protocol.TranscribeMessage(request=1, utterances=(2, 3)),
    protocol.PrefillMessage(conversation=(ChatMessage("user", "Hm?"),)),
    protocol.SpeakMessage(request=3, text="Grüß Gott 👋", voice="af_heart", speed=1.2, urgent=True),
    protocol.ConfirmMessage(request=3),
    protocol.HoldMessage(request=3),
    protocol.ResumeMessage(request=3),
    protocol.CancelMessage(request=3),
    protocol.HealthRequest(),
    protocol.OpenedMessage(version=1, engine="llm"),
    protocol.TokenMessage(request=1, text=" the"),
    protocol.ToolCallMessage(request=1, call=ToolCall("end_call", "{}")),
    protocol.TranscriptMessage(request=1, text="What?"),
    protocol.DoneMessage(request=1, result=Result("length", {"first_token_seconds": 0.2})),
    protocol.FailedMessage(
        request=None, reason="engine_gone", message="It is gone.", details={"engine": "x"}
    ),
    protocol.HealthReport(ready=True, metrics="# HELP a b\n"),
]
TURN = ChatMessage("user", "Hello.")


def test_every_message_type_has_a_sample() -> None:
    declared = set(typing.get_args(protocol.ToEngine)) | set(typing.get_args(protocol.ToGateway))
    assert {type(sample) for sample in SAMPLES} == declared


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_message_round_trips(message: protocol.LinkMessage) -> None:
    to_engine = type(message) in typing.get_args(protocol.ToEngine)
    decode = protocol.decode_to_engine if to_engine else protocol.decode_to_gateway
    assert decode(protocol.encode(message)) == message


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (GenerateRequest((), 1, 0.0), "conversation"),
        (GenerateRequest((TURN,) * (MAX_CONVERSATION_MESSAGES + 1), 1, 0.0), "conversation"),
        (GenerateRequest((ChatMessage("user", "x" * (MAX_TEXT_CHARS + 1)),), 1, 0.0), "text"),
        (GenerateRequest((ChatMessage("user", utterance=-1),), 1, 0.0), "utterance"),
        (GenerateRequest((TURN,), 0, 0.0), "max_tokens"),
        (GenerateRequest((TURN,), MAX_REPLY_TOKENS + 1, 0.0), "max_tokens"),
        (GenerateRequest((TURN,), 1, 2.1), "temperature"),
        (GenerateRequest((TURN,), 1, 0.0, (Tool("a", "b", "{}"),) * (MAX_TOOLS + 1)), "tools"),
        (GenerateRequest((TURN,), 1, 0.0, (Tool("two words", "b", "{}"),)), "name"),
    ],
)
def test_request_beyond_its_limits_is_refused_and_the_field_named(
    request_: GenerateRequest, field: str
) -> None:
    text = protocol.encode(protocol.GenerateMessage(request=1, generation=REQUEST))
    message = protocol.GenerateMessage.model_construct(request=1, generation=request_)
    assert protocol.decode_to_engine(text)
    with pytest.raises(BadRequest, match=field):
        protocol.decode_to_engine(protocol.encode(message))


def test_phrase_above_the_maximum_length_is_refused() -> None:
    longest = protocol.SpeakMessage(request=1, text="x" * protocol.MAX_PHRASE_CHARS)
    text = protocol.encode(longest)
    assert protocol.decode_to_engine(text) == longest
    with pytest.raises(BadRequest, match="text"):
        protocol.decode_to_engine(text.replace('"x', '"xx', 1))


def test_unknown_field_of_a_turn_is_refused() -> None:
    text = protocol.encode(protocol.PrefillMessage(conversation=(TURN,)))
    with pytest.raises(BadRequest, match="mood"):
        protocol.decode_to_engine(text.replace('"role"', '"mood":"good","role"'))


@given(st.text(max_size=300))
def test_arbitrary_text_raises_only_bad_request(text: str) -> None:
    try:
        protocol.decode_to_engine(text)
    except BadRequest as problem:
        assert text == "" or len(text) < 12 or text not in str(problem)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=2000))
def test_audio_round_trips_unless_it_ends_within_a_sample(id: int, pcm: bytes) -> None:
    if len(pcm) % 2:
        with pytest.raises(BadRequest):
            protocol.unpack_audio(protocol.pack_audio(id, pcm))
    else:
        assert protocol.unpack_audio(protocol.pack_audio(id, pcm)) == (id, pcm)


def test_audio_above_the_maximum_size_is_refused() -> None:
    with pytest.raises(BadRequest):
        protocol.unpack_audio(protocol.pack_audio(1, bytes(protocol.MAX_AUDIO_BYTES + 2)))


def test_refusal_does_not_repeat_the_content() -> None:
    with pytest.raises(BadRequest) as refused:
        protocol.decode_to_engine('{"type":"speak","request":1,"text":["my secret"]}')
    assert "secret" not in str(refused.value)
