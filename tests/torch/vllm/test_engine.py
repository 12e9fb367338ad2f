"""The vLLM engine with several sessions, and with input that could harm it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.session import VllmSession
from appliance.gpu_proof.scoring import ScoringEngine, ScoringSession
from appliance.link.engine import ChatMessage, GenerateRequest
from tests.engines.llm.speech import synthesize
from tests.engines.llm.turns import hear, reply
from tests.golden.reference import Reference
from tests.link.contract import SpeechContract
from tests.torch.vllm.conftest import LONG_QUESTION, compare_case, reply_tokens

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the capital of France?"
SPECIAL = (
    "<|audio|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|begin_of_text|>",
    "<|start_header_id|>system<|end_header_id|>", "<|python_tag|>", "<|reserved_special_token_0|>",
)  # fmt: skip


def metric(engine: VllmEngine, name: str) -> float:
    value = engine.llm_metrics.registry.get_sample_value(f"voice_llm_{name}")
    assert value is not None
    return value


class TestContract(SpeechContract):
    recomputed_tokens = 127  # vLLM reuses whole blocks, of 128 tokens on a CPU

    @pytest.fixture
    def engine(self, vllm_engine: VllmEngine) -> VllmEngine:
        return vllm_engine

    @pytest.fixture
    def spoken(self) -> bytes:
        return synthesize(QUESTION)


async def is_unharmed(engine: VllmEngine, reference: Reference, folder: Path) -> bool:
    """Whether a new session still gets the reply of the reference."""
    case = reference.cases[0]
    return (await compare_case(engine, reference, case, folder / "golden")).passes()


async def test_replies_of_eight_concurrent_sessions_equal_those_of_single_ones(
    vllm_engine: VllmEngine,
) -> None:
    long = "This is a rather long story about nothing at all. " * 12
    short, longer = (
        synthesize("Yes."),
        synthesize(QUESTION + " And what is the largest city of Germany?"),
    )

    def conversation(session: ScoringSession, number: int) -> list[ChatMessage]:
        match number % 4:
            case 0:
                return [ChatMessage("user", f"Say hello number {number}.")]
            case 1:
                return [hear(session, 1, short if number == 1 else longer)]
            case 2:
                return [ChatMessage("system", f"{long}{number}"), ChatMessage("user", "And now?")]
            case _:
                first, second = (longer, short) if number == 3 else (short, longer)
                return [
                    hear(session, 1, first),
                    ChatMessage("assistant", "Go on."),
                    hear(session, 2, second),
                ]

    engine = ScoringEngine(vllm_engine)

    async def ask(number: int) -> list[int]:
        session = engine.open()
        try:
            return await reply_tokens(session, conversation(session, number))
        finally:
            await session.close()

    alone = [await ask(number) for number in range(8)]
    for _ in range(3):  # each time in other batches
        together = await asyncio.gather(*(ask(number) for number in range(8)))
        assert together == alone
    assert len({tuple(tokens) for tokens in alone}) > 4


@pytest.mark.parametrize("spelling", SPECIAL)
async def test_special_tokens_in_a_text_do_no_harm(
    vllm_engine: VllmEngine, session: VllmSession, reference: Reference, tmp_path: Path,
    spelling: str,
) -> None:  # fmt: skip
    conversation = [
        ChatMessage("system", spelling),
        ChatMessage("user", f"{spelling} {spelling}"),
        ChatMessage("assistant", spelling),
        ChatMessage("tool", f'"{spelling}"'),
        ChatMessage("assistant", f"a{spelling}b"),
        ChatMessage("user", spelling * 3, hear(session, 1, synthesize(QUESTION)).utterance),
    ]
    _, result = await reply(session, conversation)
    assert result.reason in ("stop", "length")
    assert await is_unharmed(vllm_engine, reference, tmp_path)


@pytest.mark.parametrize(
    "pcm",
    [
        b"\xff\x7f" * 16_000,
        b"\x00\x80" * 16_000,
        b"\xff\x7f\x00\x80" * 16_000,
        bytes(32_000),
        b"\x01\x00",
        b"",
    ],
    ids=["highest", "lowest", "both", "zero", "one sample", "none"],
)
async def test_extreme_audio_does_no_harm(
    vllm_engine: VllmEngine,
    session: VllmSession,
    scoring_session: ScoringSession,
    reference: Reference,
    tmp_path: Path,
    pcm: bytes,
) -> None:
    _, result = await reply(session, [hear(session, 1, pcm)])
    assert result.reason in ("nothing_heard", "stop", "length")
    ungated = await reply_tokens(scoring_session, [hear(scoring_session, 1, pcm)])
    assert len(ungated) == 16
    assert await is_unharmed(vllm_engine, reference, tmp_path)


async def test_abandoned_reply_stops_the_model(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    pieces = session.generate(GenerateRequest((LONG_QUESTION,), 2_000, 0.0))
    async with contextlib.aclosing(pieces):
        await anext(pieces)
        await anext(pieces)
        assert metric(vllm_engine, "sequences_running") == 1
    async with asyncio.timeout(10):
        while metric(vllm_engine, "sequences_running"):
            await asyncio.sleep(0.01)
    assert vllm_engine.runtime.unfinished == 0


async def test_second_question_computes_only_new_tokens(session: VllmSession) -> None:
    story = ChatMessage(
        "system", "A story that no other session has heard, about nothing at all. " * 20
    )
    conversation = [story, hear(session, 1, synthesize(QUESTION))]
    text, first = await reply(session, conversation)
    conversation += [ChatMessage("assistant", text), hear(session, 2, synthesize("Yes."))]
    _, second = await reply(session, conversation)
    assert first.stats["cached_tokens"] == 0
    whole_blocks = first.stats["prompt_tokens"] // 128 * 128
    assert second.stats["cached_tokens"] == whole_blocks > 0


async def test_metrics_count_the_work_of_vllm(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    queried = metric(vllm_engine, "prefix_cache_query_tokens_total")
    intervals = metric(vllm_engine, "token_interval_seconds_count")
    finished = metric(vllm_engine, "queue_seconds_count")
    _, result = await reply(session, [ChatMessage("user", "Hello.")])
    now = metric(vllm_engine, "prefix_cache_query_tokens_total")
    assert now == queried + result.stats["prompt_tokens"]
    assert metric(vllm_engine, "token_interval_seconds_count") > intervals
    assert metric(vllm_engine, "token_interval_seconds_sum") > 0
    assert metric(vllm_engine, "queue_seconds_count") > finished
    assert metric(vllm_engine, "queue_seconds_sum") >= 0
    assert metric(vllm_engine, "preemptions_total") == 0
    assert metric(vllm_engine, "requests_running") == 0
    assert 0 <= metric(vllm_engine, "kv_usage_ratio") < 1


async def test_model_is_healthy(vllm_engine: VllmEngine) -> None:
    assert await vllm_engine.probe.is_healthy()


async def test_conversations_are_not_logged(
    vllm_engine: VllmEngine, session: VllmSession, capfd: pytest.CaptureFixture[str]
) -> None:
    await reply(
        session, [ChatMessage("system", "canary-system"), ChatMessage("user", "canary-user")]
    )
    with contextlib.suppress(Exception):
        await reply(session, [ChatMessage("user", "canary-long " * 5_000)])
    out, err = capfd.readouterr()
    assert "canary" not in out + err
