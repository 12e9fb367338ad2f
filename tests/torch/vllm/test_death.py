"""Engines that die, and that have to be noticed: each test starts one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import psutil
import pytest
import pytest_asyncio

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.errors import EngineFailed, ModelSick
from appliance.link.client import EngineClient
from appliance.link.engine import Said, Turn
from tests.torch.conftest import quiet_environment, vllm_settings
from tests.torch.vllm.conftest import reply
from tests.torch.vllm.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

EX_SOFTWARE = 70
NOTICED_SECONDS = 60  # on a machine that does other things too; asserted is that, not how soon


@pytest_asyncio.fixture(loop_scope="module")
async def process() -> AsyncIterator[EngineProcess]:
    process = EngineProcess()
    await process.ready()
    yield process
    left = process.children() if process.psutil.is_running() else []
    process.kill()
    psutil.wait_procs(left, timeout=NOTICED_SECONDS)


async def failure(client: EngineClient) -> EngineFailed:
    """What a caller is told whose reply was under way."""
    with pytest.raises(EngineFailed) as told:
        async for _ in client.generate([Said("user", "Count.")], 3_000, 0.0, study=1):
            pass
    return told.value


@pytest.mark.parametrize("name", ["EngineCore", "Worker"])
async def test_when_the_model_dies_callers_are_told_and_the_process_ends(
    process: EngineProcess, name: str
) -> None:
    clients = [EngineClient("llm", process.socket, stall_seconds=120) for _ in range(2)]
    told = [asyncio.create_task(failure(client)) for client in clients]
    await asyncio.sleep(0.5)
    children = process.children()
    process.child(name).kill()
    async with asyncio.timeout(NOTICED_SECONDS):
        assert all(isinstance(problem, EngineFailed) for problem in await asyncio.gather(*told))
    assert await asyncio.to_thread(process.wait, NOTICED_SECONDS) == EX_SOFTWARE
    psutil.wait_procs(children, timeout=NOTICED_SECONDS)
    assert not any(child.is_running() for child in children)
    assert process.lines()[-1]["reason"] == "engine_died"
    for client in clients:
        await client.close()


async def test_when_the_process_is_killed_nothing_of_vllm_is_left(process: EngineProcess) -> None:
    children = process.children()
    assert len(children) >= 2
    process.kill()
    psutil.wait_procs(children, timeout=NOTICED_SECONDS)
    assert not any(child.is_running() for child in children)


@pytest_asyncio.fixture(loop_scope="module")
async def small_cache() -> AsyncIterator[VllmEngine]:
    """An engine whose cache is soon used again."""
    quiet_environment()
    engine = VllmEngine(
        vllm_settings(
            LLM_CONTEXT_TOKENS="1024",
            LLM_HISTORY_TOKENS="512",
            GATEWAY_MAX_SESSIONS="1",
        )
    )
    await engine.start()
    yield engine
    await engine.stop()


async def poison(engine: VllmEngine, number: int) -> None:
    """Past all guards: a clip that is no number at all."""
    from vllm.sampling_params import SamplingParams

    prompt: dict[str, Any] = {
        "prompt_token_ids": list(engine.probe._ask.tokens),
        "multi_modal_data": {"audio": [(np.full(16_000, np.nan, np.float32), 16_000)]},
    }
    stream = engine.runtime._llm.generate(prompt, SamplingParams(max_tokens=8), f"nan-{number}")
    async for _ in stream:
        pass


async def test_a_model_poisoned_with_a_nan_is_noticed_and_ended(small_cache: VllmEngine) -> None:
    engine = small_cache
    children = psutil.Process().children(recursive=True)
    died = asyncio.create_task(engine.died())
    for number in range(3):
        await poison(engine, number)
    failed = 0
    for number in range(60):  # each is given the next part of the cache, and reads more of it
        session = engine.open()
        try:
            await reply(session, [Turn("user", f"{number}" + " and" * number)], max_tokens=4)
        except EngineFailed:
            failed += 1
        await session.close()
        if died.done():
            break
    with pytest.raises(ModelSick):
        async with asyncio.timeout(NOTICED_SECONDS):
            await died
    assert failed
    cores = [child for child in children if "VLLM" in child.name()]
    psutil.wait_procs(cores, timeout=NOTICED_SECONDS)
    assert not any(child.is_running() for child in cores)
