"""vLLM itself: what it is not given, and starts that come to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.vllm.engine import VllmEngine, arguments
from appliance.engines.llm.vllm.runtime import Ask, Runtime
from appliance.engines.llm.vllm.stats import VllmStatLogger
from appliance.errors import BadRequest, ModelNotStarted
from appliance.gpu import plan
from appliance.weights.checkpoint import read
from tests.torch.conftest import GOLDEN, quiet_environment, vllm_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEYOND, AUDIO = 513, 512  # in the tiny model's vocabulary of 512


@pytest.mark.parametrize(
    "ask",
    [
        Ask((1, 2, 513), (), 1),
        Ask((1, -1), (), 1),
        Ask((1, 512), (), 1),
        Ask((1, 2), (("x", None),), 1),  # type: ignore[arg-type]
        Ask((), (), 1),
    ],
    ids=["beyond", "negative", "placeholder without audio", "audio without placeholder", "empty"],
)
async def test_a_prompt_that_would_kill_the_engine_is_not_sent(
    vllm_engine: VllmEngine, ask: Ask
) -> None:
    with pytest.raises(BadRequest):
        async with contextlib.aclosing(vllm_engine.runtime.ask(ask)) as steps:
            await anext(steps)
    assert await vllm_engine.probe.healthy()


def vllm_s_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "VLLM" in child.name()]


def given(folder: Path, **changed: Any) -> dict[str, Any]:
    settings = vllm_settings()
    planned = plan(None, read(GOLDEN / "checkpoint"), settings)
    return arguments(folder, settings.llm, planned, on_cpu=True) | changed


async def test_weights_that_would_be_converted_are_refused_by_the_loader_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder that reaches vLLM unseen: float16 for a model that calculates in bfloat16."""
    quiet_environment()
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "checkpoint", folder)
    as_float16(folder / "model.safetensors")
    before = vllm_s_processes()
    runtime = Runtime("llm")
    with pytest.raises(ModelNotStarted):
        await runtime.start(given(folder, dtype="bfloat16"), VllmStatLogger(LLMMetrics()))
    await runtime.stop()
    assert vllm_s_processes() == before
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line[:1] == "{"]
    assert "weights_cast" in [line.get("reason") for line in lines]


async def test_a_start_can_be_broken_off(tmp_path: Path) -> None:
    quiet_environment()
    before = vllm_s_processes()
    runtime = Runtime("llm")
    starting = asyncio.create_task(
        runtime.start(given(GOLDEN / "checkpoint"), VllmStatLogger(LLMMetrics()))
    )
    async with asyncio.timeout(200):
        while len(vllm_s_processes()) == len(before) and not starting.done():
            await asyncio.sleep(0.1)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    async with asyncio.timeout(30):
        await runtime.stop()
        while vllm_s_processes() != before:
            await asyncio.sleep(0.1)


def as_float16(path: Path) -> None:
    """Writes the same tensors in another dtype, as zeros: what is in them is not looked at."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, tensor in header.items():
        if name != "__metadata__":
            tensor["dtype"] = "F16"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = np.zeros(len(data) - 8 - length, np.uint8).tobytes()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
