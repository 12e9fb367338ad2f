"""The link's messages, without I/O."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadRequest
from appliance.link import protocol as p

SAMPLES: list[p.Message] = [
    p.Open(version=1),
    p.Begin(utterance=1),
    p.End(utterance=1),
    p.Forget(utterance=1),
    p.Generate(
        request=1,
        conversation=(
            p.SaidTurn(role="system", text="Be kind."),
            p.SaidTurn(role="user", utterance=1),
        ),
        max_tokens=10,
        temperature=0.5,
        tools=(p.OfferedTool(name="end_call", description="Hangs up.", parameters="{}"),),
        study=5,
    ),
    p.Transcribe(request=1, utterance=2),
    p.Warm(conversation=(p.SaidTurn(role="user", text="Hm?"),)),
    p.Speak(request=3, text="Grüß Gott 👋", voice="af_heart", speed=1.2, urgent=True),
    p.Hold(request=3),
    p.Resume(request=3),
    p.Cancel(request=3),
    p.Health(),
    p.Opened(version=1, engine="llm"),
    p.Token(request=1, text=" the"),
    p.Studied(request=1, token=42, logprobs={42: -0.5, 7: -1.5}),
    p.Call(request=1, name="end_call", arguments="{}"),
    p.Transcript(request=1, text="What?"),
    p.Done(request=1, reason="length", stats={"first_token_seconds": 0.2}),
    p.Failed(request=None, reason="engine_gone", message="It is gone.", details={"engine": "x"}),
    p.Report(ready=True, metrics="# HELP a b\n"),
]


def test_there_is_a_sample_of_every_message() -> None:
    declared = set(typing.get_args(p.ToEngine)) | set(typing.get_args(p.ToGateway))
    assert {type(sample) for sample in SAMPLES} == declared


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire(message: p.Message) -> None:
    to_engine = type(message) in typing.get_args(p.ToEngine)
    decode = p.decode_to_engine if to_engine else p.decode_to_gateway
    assert decode(p.encode(message)) == message


@given(st.text(max_size=300))
def test_only_bad_request_escapes_whatever_text_arrives(text: str) -> None:
    try:
        p.decode_to_engine(text)
    except BadRequest as problem:
        assert text == "" or len(text) < 12 or text not in str(problem)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=2000))
def test_audio_survives_the_wire_unless_half_a_sample_is_missing(number: int, pcm: bytes) -> None:
    if len(pcm) % 2:
        with pytest.raises(BadRequest):
            p.unpack_audio(p.pack_audio(number, pcm))
    else:
        assert p.unpack_audio(p.pack_audio(number, pcm)) == (number, pcm)


def test_audio_has_a_largest_size() -> None:
    with pytest.raises(BadRequest):
        p.unpack_audio(p.pack_audio(1, bytes(p.MAX_AUDIO_BYTES + 2)))


def test_a_refusal_never_repeats_what_was_said() -> None:
    with pytest.raises(BadRequest) as refused:
        p.decode_to_engine('{"type":"speak","request":1,"text":["my secret"]}')
    assert "secret" not in str(refused.value)
