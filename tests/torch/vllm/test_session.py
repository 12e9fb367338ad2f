"""Sessions of Ultravox under vLLM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

from appliance.engines.llm.vllm.admission import RequestKind
from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.session import VllmSession
from appliance.errors import BadRequest, EngineBusy
from appliance.gpu_proof.scoring import ScoringEngine, ScoringSession
from appliance.link.engine import ChatMessage, GenerateRequest, Tool
from tests.engines.llm.contract import LLMSessionContract
from tests.engines.llm.speech import synthesize
from tests.engines.llm.turns import hear, reply
from tests.torch.vllm.conftest import LONG_QUESTION, reply_tokens

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the capital of France?"
STORY = ChatMessage("system", "This is a rather long story about nothing at all. " * 20)
BLOCK = 128  # tokens in a block of vLLM's cache on a CPU
CLOCK = Tool("current_time", "The time.", '{"type": "object", "properties": {}}')


async def test_typed_and_spoken_turns_can_be_mixed(session: VllmSession) -> None:
    conversation = [hear(session, 1, synthesize(QUESTION))]
    text, first = await reply(session, conversation)
    conversation += [ChatMessage("assistant", text), ChatMessage("user", "And of Germany?")]
    _, second = await reply(session, conversation)
    assert {first.reason, second.reason} <= {"stop", "length"}


async def test_result_holds_the_measurements_of_a_reply(session: VllmSession) -> None:
    _, result = await reply(session, [hear(session, 1, synthesize(QUESTION))], max_tokens=5)
    stats = result.stats
    assert set(stats) == {
        "hearing_seconds", "prompt_tokens", "cached_tokens", "decode_tokens",
        "first_token_seconds", "prompt_seconds",
    }  # fmt: skip
    assert 0 < stats["decode_tokens"] <= 5
    assert stats["first_token_seconds"] >= stats["prompt_seconds"] > 0


async def test_reply_ends_at_max_tokens(session: VllmSession) -> None:
    _, result = await reply(session, [LONG_QUESTION], max_tokens=7)
    assert (result.reason, result.stats["decode_tokens"]) == ("length", 7)


async def test_scoring_session_records_the_requested_log_probabilities(
    vllm_engine: VllmEngine,
) -> None:
    session = ScoringEngine(vllm_engine, logprobs=3).open()
    assert len(await reply_tokens(session, [ChatMessage("user", "Count.")], 7)) == 7
    assert all(len(scored.logprobs) >= 3 for scored in session.scored)
    await session.close()


async def test_offered_tools_are_part_of_the_prompt(session: VllmSession) -> None:
    _, without = await reply(session, [ChatMessage("user", "What time is it?")])
    _, offered = await reply(session, [ChatMessage("user", "What time is it?")], tools=[CLOCK])
    assert offered.stats["prompt_tokens"] > without.stats["prompt_tokens"] + 20


@pytest.mark.parametrize("pcm", [bytes(64_000), b"", bytes(1000)], ids=["silent", "empty", "short"])
async def test_utterance_without_speech_gets_no_reply(session: VllmSession, pcm: bytes) -> None:
    text, result = await reply(session, [hear(session, 1, pcm)])
    assert (text, result.reason) == ("", "nothing_heard")
    assert await session.transcribe(1) == ""


async def test_silent_utterance_of_a_typed_turn_is_left_out(session: VllmSession) -> None:
    typed = ChatMessage("user", "Say hello.")
    with_silence = ChatMessage("user", "Say hello.", hear(session, 1, bytes(64_000)).utterance)
    _, one = await reply(session, [typed])
    _, other = await reply(session, [with_silence])
    assert one.stats["prompt_tokens"] == other.stats["prompt_tokens"]


async def test_prefill_leaves_out_an_open_utterance(session: VllmSession) -> None:
    session.begin(1)
    session.add_audio(1, synthesize(QUESTION))
    await session.prefill((STORY, ChatMessage("user", utterance=1)))
    session.add_audio(1, synthesize("Now!"))
    session.end(1)
    _, result = await reply(session, [STORY, ChatMessage("user", utterance=1)])
    assert result.stats["cached_tokens"] >= BLOCK


async def test_prefill_includes_an_ended_utterance(session: VllmSession) -> None:
    turn = hear(session, 1, synthesize(QUESTION))
    story = ChatMessage("user", STORY.text + "prepared")
    conversation = [story, ChatMessage("assistant", "Yes."), turn]
    await session.prefill(tuple(conversation))
    _, result = await reply(session, conversation)
    computed = result.stats["prompt_tokens"] - result.stats["cached_tokens"]
    assert computed <= BLOCK


async def test_grown_utterance_is_encoded_again(scoring_session: ScoringSession) -> None:
    session = scoring_session
    whole = synthesize(QUESTION)
    session.begin(1)
    session.add_audio(1, whole[: len(whole) // 4 * 2])
    half = await reply_tokens(session, [STORY, ChatMessage("user", utterance=1)])
    session.add_audio(1, whole[len(whole) // 4 * 2 :])
    session.end(1)
    grown = await reply_tokens(session, [STORY, ChatMessage("user", utterance=1)])
    at_once = await reply_tokens(session, [STORY, hear(session, 2, whole)])
    assert grown == at_once != half


async def test_audio_of_a_growing_utterance_stays_cached_until_it_grows(
    session: VllmSession,
) -> None:
    """A speculative reply is requested before the turn has ended, and again when it has ended."""
    session.begin(1)
    session.add_audio(1, synthesize(QUESTION))
    utterance = ChatMessage("user", utterance=1)
    conversation = [
        utterance,
        ChatMessage("assistant", STORY.text),
        ChatMessage("user", "And now?"),
    ]
    _, first = await reply(session, conversation)
    _, repeated = await reply(session, conversation)
    session.add_audio(1, synthesize("Now!"))
    session.end(1)
    _, grown = await reply(session, conversation)
    assert first.stats["cached_tokens"] == 0
    assert repeated.stats["cached_tokens"] == first.stats["prompt_tokens"] // BLOCK * BLOCK > 0
    assert grown.stats["cached_tokens"] == 0


async def test_sessions_never_share_the_audio_of_equal_ids(vllm_engine: VllmEngine) -> None:
    """Both use the id 1 for utterances of the same length."""
    engine = ScoringEngine(vllm_engine)
    one, other = engine.open(), engine.open()
    first, second = synthesize("Good morning to you."), synthesize("What is your name, please?")
    length = min(len(first), len(second)) // 2 * 2
    alone = [
        await reply_tokens(one, [hear(one, 1, first[:length])]),
        await reply_tokens(other, [hear(other, 1, second[:length])]),
    ]
    question = [ChatMessage("user", utterance=1)]
    again = await asyncio.gather(reply_tokens(one, question), reply_tokens(other, question))
    assert list(again) == alone
    assert alone[0] != alone[1]
    await one.close()
    await other.close()


async def test_generate_stops_an_earlier_prefill(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    long = ChatMessage("user", "Nothing at all happened on that day, and the next day. " * 60)
    prefill = asyncio.create_task(session.prefill((long,)))
    await asyncio.sleep(0.01)
    await reply(session, [ChatMessage("user", "Say hello.")])
    async with asyncio.timeout(10):
        await prefill


async def test_reply_after_a_prefill_was_stopped_at_any_point_is_complete(
    scoring_session: ScoringSession,
) -> None:
    """A request that is cancelled early leaves its clips on only one of vLLM's two lists."""
    session = scoring_session
    for number in range(12):
        turn = hear(session, number, synthesize(QUESTION))
        prefill = asyncio.create_task(session.prefill((turn,)))
        for _ in range(number):
            await asyncio.sleep(0)
        assert len(await reply_tokens(session, [turn], 4)) == 4
        await prefill


async def wait_until_running(engine: VllmEngine, task: asyncio.Task[Any]) -> None:
    """Wait until vLLM has received the request of a task."""
    while not engine.runtime.unfinished:
        assert not task.done()
        await asyncio.sleep(0.001)


async def test_reply_does_not_wait_for_a_transcription(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    hear(session, 1, synthesize("This sentence is long enough. " * 12))
    done: list[str] = []

    async def transcribe() -> None:
        await session.transcribe(1)
        done.append("transcription")

    transcribing = asyncio.create_task(transcribe())
    await wait_until_running(vllm_engine, transcribing)
    await reply(session, [ChatMessage("user", "Say hello.")], max_tokens=2)
    done.append("reply")
    await transcribing
    assert done == ["reply", "transcription"]


async def test_transcription_displaced_by_a_reply_starts_again(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    """A reply needs the whole cache."""
    hear(session, 1, synthesize("This sentence is long enough. " * 12))
    expected = await session.transcribe(1)
    admission = vllm_engine._shared.admission
    transcribing = asyncio.create_task(session.transcribe(1))
    await wait_until_running(vllm_engine, transcribing)
    async with admission.hold(vllm_engine.runtime.kv_tokens, RequestKind.REPLY):
        await asyncio.sleep(1.0)
        assert not transcribing.done()
        assert vllm_engine.runtime.unfinished == 0
    assert await transcribing == expected


async def test_prompt_beyond_the_context_is_refused(session: VllmSession) -> None:
    with pytest.raises(BadRequest):
        await reply(session, [ChatMessage("user", "word " * 10_000)])


async def test_reply_is_refused_when_the_cache_and_the_queue_are_full(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    admission = vllm_engine._shared.admission
    async with admission.hold(vllm_engine.runtime.kv_tokens, RequestKind.REPLY):
        await session.prefill((ChatMessage("user", "Hello."),))  # refused without an error
        waiting = [
            asyncio.create_task(reply(session, [ChatMessage("user", "Say hello.")]))
            for _ in range(20)
        ]
        await asyncio.sleep(0.3)
        refused = [task for task in waiting if task.done()]
        assert refused
        assert all(isinstance(task.exception(), EngineBusy) for task in refused)
    for task in set(waiting) - set(refused):
        assert (await task)[1].reason in ("stop", "length")


async def test_close_during_a_reply_stops_it(vllm_engine: VllmEngine) -> None:
    session = vllm_engine.open()
    pieces = session.generate(GenerateRequest((LONG_QUESTION,), 2_000, 0.0))
    await anext(pieces)
    await session.close()
    assert len([piece async for piece in pieces]) <= 3
    assert vllm_engine.runtime.unfinished == 0


async def test_closed_session_is_freed(vllm_engine: VllmEngine) -> None:
    session = vllm_engine.open()
    await reply(session, [hear(session, 1, synthesize("Yes."))])
    await session.close()
    watched = weakref.ref(session)
    del session
    gc.collect()
    assert watched() is None


class TestVllmSession(LLMSessionContract):
    """The engine refuses what every engine refuses."""


async def test_replies_are_counted_by_outcome(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    def count(outcome: str) -> float:
        value = vllm_engine.llm_metrics.registry.get_sample_value(
            "voice_llm_requests_total", {"outcome": outcome}
        )
        assert value is not None
        return value

    before = {name: count(name) for name in ("length", "nothing_heard", "failed", "cancelled")}
    await reply(session, [LONG_QUESTION], max_tokens=3)
    await reply(session, [hear(session, 1, bytes(64_000))])
    with pytest.raises(BadRequest):
        await reply(session, [])
    request = GenerateRequest((LONG_QUESTION,), 900, 0.0)
    async with contextlib.aclosing(session.generate(request)) as pieces:
        await anext(pieces)
    assert {name: count(name) - was for name, was in before.items()} == dict.fromkeys(before, 1)
