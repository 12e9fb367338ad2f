"""The language model as the sessions share it: step by step, in its own thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance.engines.llm.small.engine import SmallEngine
from appliance.engines.llm.small.llama import Abort
from appliance.engines.llm.small.session import Answering
from appliance.engines.llm.small.worker import Urgency
from appliance.errors import EngineFailed
from tests.engines.llm.conftest import SYSTEM

OWNER, OTHER = "one caller", "another"


@pytest.fixture
async def answering(engine: SmallEngine) -> AsyncIterator[Answering]:
    yield engine.answering
    for owner in (OWNER, OTHER):
        await engine.answering.release(owner)


@pytest.fixture
def prompt(answering: Answering) -> list[int]:
    """Longer than one batch."""
    return answering.format.prompt([SYSTEM], 1000) * 3


async def test_a_prompt_longer_than_a_batch_is_run_to_its_end(
    answering: Answering, prompt: list[int]
) -> None:
    logits = await answering.prefill(OWNER, prompt, Urgency.GENERATE, Abort())
    assert logits is not None
    assert len(logits) == answering.model.vocabulary_tokens
    assert await answering.cached(OWNER, prompt, Urgency.GENERATE) == len(prompt)


async def test_an_aborted_prompt_has_no_next_token(answering: Answering, prompt: list[int]) -> None:
    abort = Abort()
    abort.set()
    assert await answering.prefill(OWNER, prompt, Urgency.GENERATE, abort) is None
    assert await answering.cached(OWNER, prompt, Urgency.GENERATE) == 0


async def test_callers_share_the_thread_and_not_the_cache(
    answering: Answering, prompt: list[int]
) -> None:
    one, other = await asyncio.gather(
        answering.prefill(OWNER, prompt, Urgency.GENERATE, Abort()),
        answering.prefill(OTHER, prompt[:-1], Urgency.WARM, Abort()),
    )
    assert one is not None
    assert other is not None
    await answering.release(OWNER)
    assert await answering.cached(OWNER, prompt, Urgency.GENERATE) == 0
    assert await answering.cached(OTHER, prompt[:-1], Urgency.GENERATE) == len(prompt) - 1


async def test_without_a_model_every_request_fails_clearly() -> None:
    answering = Answering()
    with pytest.raises(EngineFailed):
        await answering.prefill(OWNER, [1], Urgency.GENERATE, Abort())
    await answering.stop()
    with pytest.raises(EngineFailed):
        await answering.release(OWNER)
