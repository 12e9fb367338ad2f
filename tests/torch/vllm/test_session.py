"""A caller of Ultravox under vLLM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

from appliance.engines.llm.vllm.admission import Urgency
from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.session import VllmSession
from appliance.errors import BadRequest, EngineBusy
from appliance.link.engine import Result, Studied, Tool, Turn
from tests.engines.llm.conftest import spoken
from tests.torch.vllm.conftest import hear, reply, tokens

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the capital of France?"
STORY = Turn("system", "This is a rather long story about nothing at all. " * 20)
BLOCK = 128  # tokens, of vLLM's cache on a CPU
CLOCK = Tool("current_time", "The time.", '{"type": "object", "properties": {}}')


async def test_speech_and_typed_text_may_alternate(session: VllmSession) -> None:
    conversation = [hear(session, 1, spoken(QUESTION))]
    text, first = await reply(session, conversation)
    conversation += [Turn("assistant", text), Turn("user", "And of Germany?")]
    _, second = await reply(session, conversation)
    assert {first.reason, second.reason} <= {"stop", "length"}


async def test_what_a_reply_took_is_told(session: VllmSession) -> None:
    _, result = await reply(session, [hear(session, 1, spoken(QUESTION))], max_tokens=5)
    stats = result.stats
    assert set(stats) == {
        "hearing_seconds", "prompt_tokens", "cached_tokens", "decode_tokens",
        "first_token_seconds", "prompt_seconds",
    }  # fmt: skip
    assert 0 < stats["decode_tokens"] <= 5
    assert stats["first_token_seconds"] >= stats["prompt_seconds"] > 0


async def test_a_reply_ends_at_its_limit(session: VllmSession) -> None:
    pieces = session.generate([Turn("user", "Count.")], 7, 0.0, study=3)
    *studied, result = [piece async for piece in pieces if not isinstance(piece, str)]
    assert isinstance(result, Result)
    assert (result.reason, result.stats["decode_tokens"]) == ("length", 7)
    assert all(isinstance(piece, Studied) and len(piece.logprobs) >= 3 for piece in studied)


async def test_a_question_with_tools_is_another_prompt(session: VllmSession) -> None:
    _, without = await reply(session, [Turn("user", "What time is it?")])
    _, offered = await reply(session, [Turn("user", "What time is it?")], tools=[CLOCK])
    assert offered.stats["prompt_tokens"] > without.stats["prompt_tokens"] + 20


@pytest.mark.parametrize("pcm", [bytes(64_000), b"", bytes(1000)], ids=["silent", "empty", "short"])
async def test_nothing_heard_gets_no_answer(session: VllmSession, pcm: bytes) -> None:
    text, result = await reply(session, [hear(session, 1, pcm)])
    assert (text, result.reason) == ("", "nothing_heard")
    assert await session.transcribe(1) == ""


async def test_silence_beside_typed_text_is_left_out(session: VllmSession) -> None:
    typed = Turn("user", "Say hello.")
    with_silence = Turn("user", "Say hello.", hear(session, 1, bytes(64_000)).utterance)
    _, one = await reply(session, [typed])
    _, other = await reply(session, [with_silence])
    assert one.stats["prompt_tokens"] == other.stats["prompt_tokens"]


async def test_a_pause_prepares_what_is_certain(session: VllmSession) -> None:
    session.begin(1)
    session.hear(1, spoken(QUESTION))
    await session.warm([STORY, Turn("user", utterance=1)])
    session.hear(1, spoken("Now!"))
    session.end(1)
    _, result = await reply(session, [STORY, Turn("user", utterance=1)])
    assert result.stats["cached_tokens"] >= BLOCK


async def test_an_utterance_that_has_ended_is_prepared_whole(session: VllmSession) -> None:
    turn = hear(session, 1, spoken(QUESTION))
    story = Turn("user", STORY.text + "prepared")
    conversation = [story, Turn("assistant", "Yes."), turn]
    await session.warm(conversation)
    _, result = await reply(session, conversation)
    left = result.stats["prompt_tokens"] - result.stats["cached_tokens"]
    assert left <= BLOCK


async def test_a_grown_utterance_is_heard_anew(session: VllmSession) -> None:
    whole = spoken(QUESTION)
    session.begin(1)
    session.hear(1, whole[: len(whole) // 4 * 2])
    half = await tokens(session, [STORY, Turn("user", utterance=1)])
    session.hear(1, whole[len(whole) // 4 * 2 :])
    session.end(1)
    grown = await tokens(session, [STORY, Turn("user", utterance=1)])
    at_once = await tokens(session, [STORY, hear(session, 2, whole)])
    assert grown == at_once != half


async def test_two_callers_never_hear_each_other(vllm_engine: VllmEngine) -> None:
    """Both number their utterances from 1, and as long ones, too."""
    one, other = vllm_engine.open(), vllm_engine.open()
    first, second = spoken("Good morning to you."), spoken("What is your name, please?")
    length = min(len(first), len(second)) // 2 * 2
    alone = [
        await tokens(one, [hear(one, 1, first[:length])]),
        await tokens(other, [hear(other, 1, second[:length])]),
    ]
    again = await asyncio.gather(
        tokens(one, [Turn("user", utterance=1)]), tokens(other, [Turn("user", utterance=1)])
    )
    assert again == alone
    assert alone[0] != alone[1]
    await one.close()
    await other.close()


async def test_a_request_stops_the_warming_before_it(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    long = Turn("user", "Nothing at all happened on that day, and the next day. " * 60)
    warming = asyncio.create_task(session.warm([long]))
    await asyncio.sleep(0.01)
    await reply(session, [Turn("user", "Say hello.")])
    async with asyncio.timeout(10):
        await warming


async def test_what_was_being_prepared_when_it_was_stopped_is_answered(
    session: VllmSession,
) -> None:
    """vLLM forgets, on one of its two sides, the clips of a request that is cancelled early."""
    for number in range(12):
        turn = hear(session, number, spoken(QUESTION))
        warming = asyncio.create_task(session.warm([turn]))
        for _ in range(number):
            await asyncio.sleep(0)
        assert len(await tokens(session, [turn], 4)) == 4
        await warming


async def at_work(engine: VllmEngine, task: asyncio.Task[Any]) -> None:
    """Waits until the model has what the task asks of it."""
    while not engine.runtime.unfinished:
        assert not task.done()
        await asyncio.sleep(0.001)


async def test_a_reply_does_not_wait_for_a_transcription(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    hear(session, 1, spoken("This sentence is long enough. " * 12))
    done: list[str] = []

    async def transcribe() -> None:
        await session.transcribe(1)
        done.append("transcription")

    transcribing = asyncio.create_task(transcribe())
    await at_work(vllm_engine, transcribing)
    await reply(session, [Turn("user", "Say hello.")], max_tokens=2)
    done.append("reply")
    await transcribing
    assert done == ["reply", "transcription"]


async def test_a_transcription_is_ended_for_a_reply_and_begins_again(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    """As when the cache is full: a reply takes all that the transcription leaves."""
    hear(session, 1, spoken("This sentence is long enough. " * 12))
    expected = await session.transcribe(1)
    room = vllm_engine._shared.room
    transcribing = asyncio.create_task(session.transcribe(1))
    await at_work(vllm_engine, transcribing)
    async with room.hold(vllm_engine.runtime.kv_tokens, RequestKind.REPLY):
        await asyncio.sleep(1.0)
        assert not transcribing.done()
        assert vllm_engine.runtime.unfinished == 0
    assert await transcribing == expected


async def test_what_can_never_fit_is_refused_and_not_waited_for(session: VllmSession) -> None:
    with pytest.raises(BadRequest):
        await reply(session, [Turn("user", "word " * 10_000)])


async def test_when_all_is_taken_a_caller_is_told(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    room = vllm_engine._shared.room
    async with room.hold(vllm_engine.runtime.kv_tokens, RequestKind.REPLY):
        await session.warm([Turn("user", "Hello.")])  # refused, which harms nobody
        waiting = [
            asyncio.create_task(reply(session, [Turn("user", "Say hello.")])) for _ in range(20)
        ]
        await asyncio.sleep(0.3)
        refused = [task for task in waiting if task.done()]
        assert refused
        assert all(isinstance(task.exception(), EngineBusy) for task in refused)
    for task in set(waiting) - set(refused):
        assert (await task)[1].reason in ("stop", "length")


async def test_a_session_closed_in_the_middle_of_a_reply_stops_it(vllm_engine: VllmEngine) -> None:
    session = vllm_engine.open()
    pieces = session.generate([Turn("user", "Count.")], 2_000, 0.0, study=1)
    await anext(pieces)
    await session.close()
    assert len([piece async for piece in pieces]) <= 3
    assert vllm_engine.runtime.unfinished == 0


async def test_a_closed_session_leaves_nothing_behind(vllm_engine: VllmEngine) -> None:
    session = vllm_engine.open()
    await reply(session, [hear(session, 1, spoken("Yes."))])
    await session.close()
    watched = weakref.ref(session)
    del session
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize(
    "conversation",
    [[], [Turn("system", "Hi.")], [Turn("assistant", "Hi.")], [Turn("user", utterance=99)]],
)
async def test_a_conversation_that_makes_no_sense_is_refused(
    session: VllmSession, conversation: list[Turn]
) -> None:
    with pytest.raises(BadRequest):
        await reply(session, conversation)


async def test_audio_of_an_unknown_utterance_or_half_a_sample_is_refused(
    session: VllmSession,
) -> None:
    with pytest.raises(BadRequest):
        session.hear(5, bytes(1280))
    session.begin(5)
    with pytest.raises(BadRequest):
        session.hear(5, bytes(3))
    session.forget(5)
    with pytest.raises(BadRequest):
        await session.transcribe(5)


async def test_requests_are_counted_by_how_they_ended(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    def count(outcome: str) -> float:
        found = vllm_engine.meters.registry.get_sample_value(
            "voice_llm_requests_total", {"outcome": outcome}
        )
        assert found is not None
        return found

    before = {name: count(name) for name in ("length", "nothing_heard", "failed", "cancelled")}
    async with contextlib.aclosing(
        session.generate([Turn("user", "Hi.")], 3, 0.0, study=1)
    ) as all_:
        async for _ in all_:
            pass
    await reply(session, [hear(session, 1, bytes(64_000))])
    with pytest.raises(BadRequest):
        await reply(session, [])
    async with contextlib.aclosing(
        session.generate([Turn("user", "Hi.")], 900, 0.0, study=1)
    ) as it:
        await anext(it)
    assert {name: count(name) - was for name, was in before.items()} == dict.fromkeys(before, 1)
