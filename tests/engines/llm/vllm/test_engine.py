"""The vLLM engine without vLLM: its arguments, and its checks before vLLM is imported.

With vLLM it is tested in tests/torch/vllm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.engines.llm.vllm import engine
from appliance.engines.llm.vllm.engine import SPARE_SEQUENCES, VllmEngine, engine_arguments
from appliance.errors import BadCheckpoint, ModelUnhealthy, NoCard
from appliance.gpu import Plan, plan
from appliance.settings import Settings, load
from appliance.weights.checkpoint import read

GOLDEN = Path(__file__).parents[3] / "golden" / "ultravox-tiny"
TINY = GOLDEN / "checkpoint"


@pytest.fixture(autouse=True)
def _restore_log_level() -> Iterator[None]:
    """Restore vLLM's log level, because stopping an engine silences it for the whole process."""
    level = logging.getLogger("vllm").level
    yield
    logging.getLogger("vllm").setLevel(level)


def load_settings(weights: Path, model: str) -> Settings:
    return load(
        {
            "VOICE_PATHS_WEIGHTS": str(weights),
            "VOICE_LLM_ENGINE": "vllm",
            "VOICE_LLM_MODEL": model,
        }
    )


async def test_gpu_build_without_a_gpu_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "none")
    monkeypatch.setattr(engine, "needs_card", lambda: True)
    with pytest.raises(NoCard, match="NVIDIA_VISIBLE_DEVICES"):
        await VllmEngine(load_settings(GOLDEN, "checkpoint")).start()


async def test_folder_without_a_model_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadCheckpoint, match="empty"):
        await VllmEngine(load_settings(tmp_path, "empty")).start()


@pytest.mark.parametrize("unhealthy", [True, False])
async def test_unhealthy_model_is_reported_and_a_dead_model_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unhealthy: bool
) -> None:
    async def at_once() -> None:
        pass

    async def never() -> None:
        await asyncio.Event().wait()

    vllm_engine = VllmEngine(load_settings(tmp_path, "model"))
    vllm_engine.probe = SimpleNamespace(wait_until_unhealthy=at_once if unhealthy else never)  # type: ignore[assignment]
    monkeypatch.setattr(vllm_engine.runtime, "died", never if unhealthy else at_once)
    if unhealthy:
        with pytest.raises(ModelUnhealthy, match="llm"):
            await vllm_engine.died()
    else:
        await vllm_engine.died()


@pytest.fixture
def settings() -> Settings:
    return load({"VOICE_LLM_ENGINE": "vllm", "VOICE_LLM_DTYPE": "float32"})


@pytest.fixture
def cpu_plan(settings: Settings) -> Plan:
    return plan(None, read(TINY), settings)


@pytest.fixture
def arguments(settings: Settings, cpu_plan: Plan) -> dict[str, Any]:
    return engine_arguments(TINY, settings.llm, cpu_plan, on_cpu=True)


def test_no_code_of_a_model_folder_is_run_and_no_file_is_downloaded(
    arguments: dict[str, Any],
) -> None:
    assert arguments["trust_remote_code"] is False
    assert arguments["load_format"] == "safetensors"
    assert arguments["model_impl"] == "vllm"
    assert arguments["model"] == str(TINY)


def test_requests_are_not_logged(arguments: dict[str, Any]) -> None:
    assert arguments["enable_log_requests"] is False
    assert arguments["disable_log_stats"] is True


def test_arguments_follow_the_plan(
    settings: Settings, cpu_plan: Plan, arguments: dict[str, Any]
) -> None:
    assert arguments["max_model_len"] == cpu_plan.context_tokens
    assert arguments["max_num_seqs"] == cpu_plan.max_sequences + SPARE_SEQUENCES
    assert arguments["kv_cache_memory_bytes"] > cpu_plan.kv_bytes
    assert arguments["enforce_eager"] is True
    on_gpu = engine_arguments(TINY, settings.llm, cpu_plan, on_cpu=False)
    assert on_gpu["enforce_eager"] is False


@pytest.mark.parametrize(
    ("dtype", "kv_dtype", "argument"),
    [("bfloat16", "bfloat16", "auto"), ("bfloat16", "fp8", "fp8"), ("float32", "float32", "auto")],
)
def test_kv_cache_has_the_planned_dtype(
    settings: Settings, cpu_plan: Plan, dtype: str, kv_dtype: str, argument: str
) -> None:
    planned = replace(cpu_plan, dtype=dtype, kv_dtype=kv_dtype)
    arguments = engine_arguments(TINY, settings.llm, planned, on_cpu=False)
    assert (arguments["dtype"], arguments["kv_cache_dtype"]) == (dtype, argument)
    assert arguments["attention_backend"] == ("TRITON_ATTN" if kv_dtype == "fp8" else None)


def test_longest_utterance_and_a_history_of_utterances_fit(cpu_plan: Plan) -> None:
    config = load({"VOICE_LLM_MAX_UTTERANCE_SECONDS": "12", "VOICE_LLM_HISTORY_TURNS": "40"}).llm
    arguments = engine_arguments(TINY, config, cpu_plan, on_cpu=True)
    assert arguments["limit_mm_per_prompt"]["audio"] == {"count": 40, "length": 12 * 16_000}
