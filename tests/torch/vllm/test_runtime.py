"""vLLM's runtime: prompts that must not reach it, and starts that fail or are cancelled."""

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
from appliance.engines.llm.vllm.engine import VllmEngine, engine_arguments
from appliance.engines.llm.vllm.runtime import DecodeRequest, VllmRuntime
from appliance.engines.llm.vllm.stats import VllmStatLogger
from appliance.errors import BadRequest, ModelNotStarted
from appliance.gpu import plan
from appliance.weights.checkpoint import read
from tests.torch.conftest import GOLDEN, quiet_environment, vllm_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "decode_request",
    [
        DecodeRequest((1, 2, 513), (), 1),  # the vocabulary has 512 tokens
        DecodeRequest((1, -1), (), 1),
        DecodeRequest((1, 512), (), 1),  # the placeholder
        DecodeRequest((1, 2), (("x", None),), 1),  # type: ignore[arg-type]
        DecodeRequest((), (), 1),
    ],
    ids=[
        "outside the vocabulary",
        "negative",
        "placeholder without audio",
        "audio without placeholder",
        "empty",
    ],
)
async def test_prompt_that_would_crash_vllm_is_refused(
    vllm_engine: VllmEngine, decode_request: DecodeRequest
) -> None:
    with pytest.raises(BadRequest):
        async with contextlib.aclosing(vllm_engine.runtime.generate(decode_request)) as steps:
            await anext(steps)
    assert await vllm_engine.probe.is_healthy()


def vllm_processes() -> set[psutil.Process]:
    return {child for child in psutil.Process().children(recursive=True) if "VLLM" in child.name()}


def make_arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    settings = vllm_settings()
    cpu_plan = plan(None, read(GOLDEN / "checkpoint"), settings)
    return engine_arguments(folder, settings.llm, cpu_plan, on_cpu=True) | changes


async def test_cast_of_weights_is_refused_by_the_loader(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder that was not checked before: float16 weights for a model in bfloat16."""
    quiet_environment()
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "checkpoint", folder)
    relabel_as_float16(folder / "model.safetensors")
    before = vllm_processes()
    runtime = VllmRuntime()
    with pytest.raises(ModelNotStarted):
        await runtime.start(make_arguments(folder, dtype="bfloat16"), VllmStatLogger(LLMMetrics()))
    await runtime.stop()
    assert vllm_processes() <= before
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line[:1] == "{"]
    assert "weights_cast" in [line.get("reason") for line in lines]


async def test_start_can_be_cancelled(tmp_path: Path) -> None:
    quiet_environment()
    before = vllm_processes()
    runtime = VllmRuntime()
    starting = asyncio.create_task(
        runtime.start(make_arguments(GOLDEN / "checkpoint"), VllmStatLogger(LLMMetrics()))
    )
    async with asyncio.timeout(200):
        while vllm_processes() <= before and not starting.done():
            await asyncio.sleep(0.1)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    async with asyncio.timeout(30):
        await runtime.stop()
        while not vllm_processes() <= before:
            await asyncio.sleep(0.1)


def relabel_as_float16(path: Path) -> None:
    """Rewrite the tensors as float16 zeros; their content does not matter."""
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
