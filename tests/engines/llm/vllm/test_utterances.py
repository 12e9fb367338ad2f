"""What a caller said, by number and by name."""

from __future__ import annotations

import pytest

from appliance.engines.llm.vllm.audio import SessionClips
from appliance.engines.llm.vllm.prompt import count_audio_tokens
from appliance.errors import BadRequest
from appliance.link.engine import Turn
from appliance.settings import Settings
from tests.engines.llm.conftest import spoken


@pytest.fixture
def utterances() -> SessionClips:
    return SessionClips(Settings().llm, "llm")


def heard(utterances: SessionClips, number: int, pcm: bytes) -> Turn:
    utterances.begin(number)
    utterances.clip(number).add(pcm)
    return Turn("user", utterance=number)


def test_an_utterance_keeps_its_name_until_it_grows(utterances: SessionClips) -> None:
    heard(utterances, 1, spoken("Yes."))
    name, samples = utterances.named(1)
    assert utterances.named(1)[0] == name
    assert len(samples) == len(spoken("Yes.")) // 2
    utterances.clip(1).add(bytes(320))
    assert utterances.named(1)[0] != name


def test_no_two_callers_clips_share_a_name(utterances: SessionClips) -> None:
    other = SessionClips(Settings().llm, "llm")
    names = set()
    for caller in (utterances, other):
        for number in (1, 2):
            heard(caller, number, spoken("Yes."))
            names.add(caller.named(number)[0])
    utterances.rename()
    names.add(utterances.named(1)[0])
    assert len(names) == 5


def test_only_what_holds_speech_has_a_size(utterances: SessionClips) -> None:
    turns = [
        heard(utterances, 1, spoken("What is the capital of France?")),
        heard(utterances, 2, bytes(32_000)),
        Turn("user", "typed"),
    ]
    samples = len(spoken("What is the capital of France?")) // 2
    assert utterances.sizes(turns) == {1: count_audio_tokens(samples)}
    assert set(utterances.sizes(turns, guarded=False)) == {1, 2}
    assert [utterances.speak(turn) for turn in turns] == [True, False, True]


def test_an_utterance_grows_until_it_is_ended(utterances: SessionClips) -> None:
    turn = heard(utterances, 1, spoken("Yes."))
    assert utterances.growing(turn)
    utterances.end(1)
    assert not utterances.growing(turn)
    assert not utterances.growing(Turn("user", "typed"))


def test_what_is_unknown_is_refused_and_may_be_forgotten(utterances: SessionClips) -> None:
    utterances.forget(9)
    heard(utterances, 1, b"")
    utterances.forget(1)
    for ask in (utterances.clip, utterances.end, utterances.named):
        with pytest.raises(BadRequest, match="unknown utterance 1"):
            ask(1)
    with pytest.raises(BadRequest):
        utterances.sizes([Turn("user", utterance=1)])
