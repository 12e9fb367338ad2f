"""What is measured of a reply, and how its end is counted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest

from appliance.engines.llm.metrics import OUTCOMES, EngineMeters, Request
from appliance.errors import BadRequest, EngineFailed
from appliance.link.engine import Piece, Result


@pytest.fixture
def request_of(meters: EngineMeters) -> Request:
    return Request("llm", meters)


@pytest.fixture
def meters() -> EngineMeters:
    return EngineMeters()


async def answer(request: Request, problem: Exception | None = None) -> AsyncGenerator[Piece, None]:
    request.stats["decode_tokens"] = 2
    yield "Hello."
    if problem is not None:
        raise problem
    yield Result("stop", request.stats)


def counted(meters: EngineMeters) -> dict[str, float]:
    """The outcomes that occurred."""
    found = {
        name: meters.registry.get_sample_value("voice_llm_requests_total", {"outcome": name})
        for name in OUTCOMES
    }
    return {name: value for name, value in found.items() if value}


async def test_an_answer_is_passed_on_and_counted_with_its_tokens(
    request_of: Request, meters: EngineMeters
) -> None:
    pieces = []
    async for piece in request_of.counted(answer(request_of)):
        assert meters.registry.get_sample_value("voice_llm_requests_running") == 1
        pieces.append(piece)
    assert pieces == ["Hello.", Result("stop", {"decode_tokens": 2})]
    assert counted(meters) == {"stop": 1}
    assert meters.registry.get_sample_value("voice_llm_decode_tokens_total") == 2
    assert meters.registry.get_sample_value("voice_llm_requests_running") == 0


async def test_an_answer_that_nobody_waits_for_any_more_is_cancelled(
    request_of: Request, meters: EngineMeters
) -> None:
    async with contextlib.aclosing(request_of.counted(answer(request_of))) as pieces:
        assert await anext(pieces) == "Hello."
    assert counted(meters) == {"cancelled": 1}


@pytest.mark.parametrize(
    ("problem", "told"),
    [(RuntimeError("a crash"), EngineFailed), (BadRequest(engine="x", what="y"), BadRequest)],
)
async def test_a_crash_is_told_as_the_engines_and_its_own_errors_as_they_are(
    request_of: Request, meters: EngineMeters, problem: Exception, told: type[Exception]
) -> None:
    with pytest.raises(told):
        async for _ in request_of.counted(answer(request_of, problem)):
            pass
    assert counted(meters) == {"failed": 1}


def test_the_wait_for_the_first_token_is_hearing_and_reading(
    request_of: Request, meters: EngineMeters
) -> None:
    request_of.heard(spoken=True)
    request_of.first_token()
    stats = request_of.stats
    whole = stats["hearing_seconds"] + stats["prompt_seconds"]
    assert stats["first_token_seconds"] == pytest.approx(whole, abs=0.01)
    for name in ("hearing", "first_token"):
        sample = f"voice_llm_{name}_seconds_count"
        assert meters.registry.get_sample_value(sample) == 1


def test_where_nothing_had_to_be_heard_no_hearing_is_observed(
    request_of: Request, meters: EngineMeters
) -> None:
    request_of.heard(spoken=False)
    assert meters.registry.get_sample_value("voice_llm_hearing_seconds_count") == 0
