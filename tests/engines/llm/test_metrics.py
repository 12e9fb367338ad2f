"""The engine's metrics, and the measurement of a generation."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.engines.llm.metrics import OUTCOMES, GenerationTimer, LLMMetrics
from appliance.errors import BadRequest, EngineFailed
from appliance.link.engine import Chunk, Result


def test_every_metric_exists_at_zero_before_the_first_event() -> None:
    samples = [
        sample
        for family in text_string_to_metric_families(LLMMetrics().render().decode())
        for sample in family.samples
    ]
    assert samples
    assert all(sample.name.startswith("voice_llm_") for sample in samples)
    assert all(sample.value == 0 for sample in samples)
    outcomes = {s.labels["outcome"] for s in samples if "outcome" in s.labels}
    assert outcomes == set(OUTCOMES)


def test_two_engines_count_separately() -> None:
    one, other = LLMMetrics(), LLMMetrics()
    one.decode_tokens.inc(3)
    assert b"voice_llm_decode_tokens_total 3.0" in one.render()
    assert b"voice_llm_decode_tokens_total 0.0" in other.render()


@pytest.fixture
def metrics() -> LLMMetrics:
    return LLMMetrics()


@pytest.fixture
def timer(metrics: LLMMetrics) -> GenerationTimer:
    return GenerationTimer("llm", metrics)


async def generate(
    timer: GenerationTimer, error: Exception | None = None
) -> AsyncGenerator[Chunk, None]:
    timer.stats["decode_tokens"] = 2
    yield "Hello."
    if error is not None:
        raise error
    yield Result("stop", timer.stats)


def value(metrics: LLMMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"voice_llm_{name}")


def outcomes(metrics: LLMMetrics) -> dict[str, float]:
    """Return the outcomes with a count above zero."""
    counts = {
        name: metrics.registry.get_sample_value("voice_llm_requests_total", {"outcome": name})
        for name in OUTCOMES
    }
    return {name: count for name, count in counts.items() if count}


async def test_complete_reply_is_passed_through_and_counted_with_its_tokens(
    timer: GenerationTimer, metrics: LLMMetrics
) -> None:
    pieces = []
    async for piece in timer.track(generate(timer)):
        assert value(metrics, "requests_running") == 1
        pieces.append(piece)
    assert pieces == ["Hello.", Result("stop", {"decode_tokens": 2})]
    assert outcomes(metrics) == {"stop": 1}
    assert value(metrics, "decode_tokens_total") == 2
    assert value(metrics, "requests_running") == 0


async def test_abandoned_reply_is_counted_as_cancelled(
    timer: GenerationTimer, metrics: LLMMetrics
) -> None:
    async with contextlib.aclosing(timer.track(generate(timer))) as pieces:
        assert await anext(pieces) == "Hello."
    assert outcomes(metrics) == {"cancelled": 1}


@pytest.mark.parametrize(
    ("error", "raised"),
    [(RuntimeError("a crash"), EngineFailed), (BadRequest(engine="x", what="y"), BadRequest)],
)
async def test_crash_is_raised_as_engine_failed_and_catalogue_errors_are_unchanged(
    timer: GenerationTimer, metrics: LLMMetrics, error: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        async for _ in timer.track(generate(timer, error)):
            pass
    assert outcomes(metrics) == {"failed": 1}


def test_time_to_first_token_is_hearing_plus_prompt_time(
    timer: GenerationTimer, metrics: LLMMetrics
) -> None:
    timer.mark_understood(has_speech=True)
    timer.mark_first_token()
    stats = timer.stats
    whole = stats["hearing_seconds"] + stats["prompt_seconds"]
    assert stats["first_token_seconds"] == pytest.approx(whole, abs=0.01)
    for name in ("hearing", "first_token"):
        assert value(metrics, f"{name}_seconds_count") == 1


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_speculative_generation_is_observed_unless_it_is_cancelled(
    metrics: LLMMetrics, is_cancelled: bool
) -> None:
    timer = GenerationTimer("llm", metrics, speculative=True)
    async with contextlib.aclosing(timer.track(generate(timer))) as pieces:
        timer.mark_understood(has_speech=True)
        timer.mark_first_token()
        await anext(pieces)
        assert value(metrics, "first_token_seconds_count") == 0
        if not is_cancelled:
            async for _ in pieces:
                pass
    assert outcomes(metrics) == ({"cancelled": 1} if is_cancelled else {"stop": 1})
    for name in ("hearing", "first_token"):
        assert value(metrics, f"{name}_seconds_count") == (0 if is_cancelled else 1)


async def test_confirmed_generation_is_observed_although_it_is_interrupted_later(
    metrics: LLMMetrics,
) -> None:
    timer = GenerationTimer("llm", metrics, speculative=True)
    timer.mark_understood(has_speech=True)
    timer.confirm()
    timer.mark_first_token()
    async with contextlib.aclosing(timer.track(generate(timer))) as pieces:
        await anext(pieces)
    for name in ("hearing", "first_token"):
        assert value(metrics, f"{name}_seconds_count") == 1


def test_typed_conversation_observes_no_hearing_time(
    timer: GenerationTimer, metrics: LLMMetrics
) -> None:
    timer.mark_understood(has_speech=False)
    assert value(metrics, "hearing_seconds_count") == 0
