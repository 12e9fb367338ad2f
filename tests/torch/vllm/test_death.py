"""Engines whose model dies or breaks. Each test starts an engine of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import psutil
import pytest
import pytest_asyncio

from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.errors import EngineFailed, ModelUnhealthy
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, GenerateRequest
from tests.engines.llm.turns import reply
from tests.torch.conftest import quiet_environment, vllm_settings
from tests.torch.vllm.conftest import LONG_QUESTION
from tests.torch.vllm.process import VllmProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

EX_SOFTWARE = 70
NOTICED_SECONDS = 60  # generous: what matters is that a failure is noticed, not how soon


@pytest_asyncio.fixture(loop_scope="module")
async def process() -> AsyncIterator[VllmProcess]:
    process = VllmProcess()
    await process.wait_ready()
    yield process
    children = process.children() if process.psutil.is_running() else []
    process.kill()
    psutil.wait_procs(children, timeout=NOTICED_SECONDS)


async def generate_until_failure(client: EngineClient) -> EngineFailed:
    """The error that ends a session which asks for one long reply after the other."""
    with pytest.raises(EngineFailed) as raised:
        while True:
            async for _ in client.generate(GenerateRequest((LONG_QUESTION,), 3_000, 0.0)):
                pass
    return raised.value


@pytest.mark.parametrize("name", ["EngineCore", "Worker"])
async def test_death_of_the_model_fails_all_replies_and_ends_the_process(
    process: VllmProcess, name: str
) -> None:
    clients = [EngineClient("llm", process.socket, stall_seconds=120) for _ in range(2)]
    failures = [asyncio.create_task(generate_until_failure(client)) for client in clients]
    await asyncio.sleep(0.5)
    children = process.children()
    process.child(name).kill()
    async with asyncio.timeout(NOTICED_SECONDS):
        assert all(isinstance(error, EngineFailed) for error in await asyncio.gather(*failures))
    assert await asyncio.to_thread(process.wait, NOTICED_SECONDS) == EX_SOFTWARE
    psutil.wait_procs(children, timeout=NOTICED_SECONDS)
    assert not any(child.is_running() for child in children)
    assert process.lines()[-1]["reason"] == "engine_died"
    for client in clients:
        await client.close()


async def test_killed_process_leaves_no_vllm_processes(process: VllmProcess) -> None:
    children = process.children()
    assert len(children) >= 2
    process.kill()
    psutil.wait_procs(children, timeout=NOTICED_SECONDS)
    assert not any(child.is_running() for child in children)


@pytest_asyncio.fixture(loop_scope="module")
async def small_cache() -> AsyncIterator[VllmEngine]:
    """An engine whose cache is so small that its blocks are reused soon."""
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
    """Send a clip of NaN, bypassing all checks."""
    from vllm.sampling_params import SamplingParams

    prompt: dict[str, Any] = {
        "prompt_token_ids": list(engine.probe._request.tokens),
        "multi_modal_data": {"audio": [(np.full(16_000, np.nan, np.float32), 16_000)]},
    }
    stream = engine.runtime._llm.generate(prompt, SamplingParams(max_tokens=8), f"nan-{number}")
    async for _ in stream:
        pass


async def test_model_with_nan_in_its_cache_is_reported_sick(small_cache: VllmEngine) -> None:
    engine = small_cache
    children = psutil.Process().children(recursive=True)
    died = asyncio.create_task(engine.died())
    for number in range(3):
        await poison(engine, number)
    failed = 0
    for number in range(60):  # each is given the next blocks of the cache, and reads more of them
        session = engine.open()
        try:
            await reply(session, [ChatMessage("user", f"{number}" + " and" * number)], max_tokens=4)
        except EngineFailed:
            failed += 1
        await session.close()
        if died.done():
            break
    with pytest.raises(ModelUnhealthy):
        async with asyncio.timeout(NOTICED_SECONDS):
            await died
    assert failed
    cores = [child for child in children if "VLLM" in child.name()]
    psutil.wait_procs(cores, timeout=NOTICED_SECONDS)
    assert not any(child.is_running() for child in cores)
