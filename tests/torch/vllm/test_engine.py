"""The engine as all its callers have it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.session import VllmSession
from appliance.link.engine import Turn
from tests.engines.llm.conftest import spoken
from tests.golden.comparison import compare
from tests.golden.reference import Reference
from tests.link.contract import SpeechContract, linked
from tests.torch.vllm.conftest import hear, reply, tokens

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the capital of France?"
SPECIAL = (
    "<|audio|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|begin_of_text|>",
    "<|start_header_id|>system<|end_header_id|>", "<|python_tag|>", "<|reserved_special_token_0|>",
)  # fmt: skip


def value(engine: VllmEngine, name: str) -> float:
    found = engine.meters.registry.get_sample_value(f"voice_llm_{name}")
    assert found is not None
    return found


class TestContract(SpeechContract):
    @pytest.fixture
    def engine(self, vllm_engine: VllmEngine) -> VllmEngine:
        return vllm_engine

    @pytest.fixture
    def spoken(self) -> bytes:
        return spoken(QUESTION)


def golden_cases() -> list[str]:
    return ["one_1s", "sys_2.4s", "multi", "long45"]


@pytest.mark.parametrize("name", golden_cases())
async def test_answers_are_the_reference_s_through_the_whole_path(
    vllm_engine: VllmEngine, reference: Reference, tmp_path: Path, name: str
) -> None:
    (case,) = [case for case in reference.cases if case.name == name]
    async with linked(vllm_engine, tmp_path / "s") as client:
        verdict = await compare(client, reference, case)
    assert verdict.passes(), verdict
    assert verdict.compared == len(case.logprobs)


async def golden_tokens(engine: VllmEngine, reference: Reference, folder: Path) -> bool:
    """Whether a caller who comes now still gets the reference's answer."""
    async with linked(engine, folder / "golden") as client:
        return (await compare(client, reference, reference.cases[0])).passes()


async def test_eight_callers_at_once_get_the_answers_they_get_alone(
    vllm_engine: VllmEngine,
) -> None:
    long = "This is a rather long story about nothing at all. " * 12
    short, longer = spoken("Yes."), spoken(QUESTION + " And what is the largest city of Germany?")

    def conversation(session: VllmSession, number: int) -> list[Turn]:
        match number % 4:
            case 0:
                return [Turn("user", f"Say hello number {number}.")]
            case 1:
                return [hear(session, 1, short if number == 1 else longer)]
            case 2:
                return [Turn("system", f"{long}{number}"), Turn("user", "And now?")]
            case _:
                first, second = (longer, short) if number == 3 else (short, longer)
                return [
                    hear(session, 1, first),
                    Turn("assistant", "Go on."),
                    hear(session, 2, second),
                ]

    async def call(number: int) -> list[int]:
        session = vllm_engine.open()
        try:
            return await tokens(session, conversation(session, number))
        finally:
            await session.close()

    alone = [await call(number) for number in range(8)]
    for _ in range(3):  # in other company each time
        together = await asyncio.gather(*(call(number) for number in range(8)))
        assert together == alone
    assert len({tuple(said) for said in alone}) > 4


@pytest.mark.parametrize("spelling", SPECIAL)
async def test_special_tokens_in_a_text_harm_nobody(
    vllm_engine: VllmEngine, session: VllmSession, reference: Reference, tmp_path: Path,
    spelling: str,
) -> None:  # fmt: skip
    conversation = [
        Turn("system", spelling),
        Turn("user", f"{spelling} {spelling}"),
        Turn("assistant", spelling),
        Turn("tool", f'"{spelling}"'),
        Turn("assistant", f"a{spelling}b"),
        Turn("user", spelling * 3, hear(session, 1, spoken(QUESTION)).utterance),
    ]
    _, result = await reply(session, conversation)
    assert result.reason in ("stop", "length")
    assert await golden_tokens(vllm_engine, reference, tmp_path)


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
async def test_audio_of_any_kind_harms_nobody(
    vllm_engine: VllmEngine, session: VllmSession, reference: Reference, tmp_path: Path, pcm: bytes
) -> None:
    turn = hear(session, 1, pcm)
    _, result = await reply(session, [turn])
    assert result.reason in ("nothing_heard", "stop", "length")
    assert len(await tokens(session, [turn])) == 16  # past the guards
    assert await golden_tokens(vllm_engine, reference, tmp_path)


async def test_an_abandoned_reply_stops_the_model(
    vllm_engine: VllmEngine, session: VllmSession
) -> None:
    pieces = session.generate([Turn("user", "Count.")], 2_000, 0.0, study=1)
    async with contextlib.aclosing(pieces):
        await anext(pieces)
        await anext(pieces)
        assert value(vllm_engine, "sequences_running") == 1
    async with asyncio.timeout(10):
        while value(vllm_engine, "sequences_running"):
            await asyncio.sleep(0.01)
    assert vllm_engine.runtime.unfinished == 0


async def test_a_second_question_costs_only_what_is_new(session: VllmSession) -> None:
    story = Turn("system", "A story that nobody else was told, and about nothing at all. " * 20)
    conversation = [story, hear(session, 1, spoken(QUESTION))]
    text, first = await reply(session, conversation)
    conversation += [Turn("assistant", text), hear(session, 2, spoken("Yes."))]
    _, second = await reply(session, conversation)
    assert first.stats["cached_tokens"] == 0
    whole_blocks = first.stats["prompt_tokens"] // 128 * 128
    assert second.stats["cached_tokens"] == whole_blocks > 0


async def test_metrics_tell_of_vllm_s_work(vllm_engine: VllmEngine, session: VllmSession) -> None:
    asked = value(vllm_engine, "prefix_cache_query_tokens_total")
    intervals = value(vllm_engine, "token_interval_seconds_count")
    ended = value(vllm_engine, "queue_seconds_count")
    _, result = await reply(session, [Turn("user", "Hello.")])
    now = value(vllm_engine, "prefix_cache_query_tokens_total")
    assert now == asked + result.stats["prompt_tokens"]
    assert value(vllm_engine, "token_interval_seconds_count") > intervals
    assert value(vllm_engine, "token_interval_seconds_sum") > 0
    assert value(vllm_engine, "queue_seconds_count") > ended
    assert value(vllm_engine, "queue_seconds_sum") >= 0
    assert value(vllm_engine, "preemptions_total") == 0
    assert value(vllm_engine, "requests_running") == 0
    assert 0 <= value(vllm_engine, "kv_usage_ratio") < 1


async def test_the_model_is_found_well(vllm_engine: VllmEngine) -> None:
    assert await vllm_engine.probe.healthy()


async def test_no_word_of_a_caller_gets_into_the_log(
    vllm_engine: VllmEngine, session: VllmSession, capfd: pytest.CaptureFixture[str]
) -> None:
    await reply(session, [Turn("system", "canary-system"), Turn("user", "canary-user")])
    with contextlib.suppress(Exception):
        await reply(session, [Turn("user", "canary-long " * 5_000)])
    out, err = capfd.readouterr()
    assert "canary" not in out + err
