"""What vLLM is started with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.engines.llm.vllm.engine import SPARE_SEATS, arguments
from appliance.gpu import Plan, plan
from appliance.settings import Settings, load
from appliance.weights.checkpoint import read

TINY = Path(__file__).parents[3] / "golden" / "ultravox-tiny" / "checkpoint"


@pytest.fixture
def settings() -> Settings:
    return load({"VOICE_LLM_ENGINE": "vllm", "VOICE_LLM_DTYPE": "float32"})


@pytest.fixture
def on_cpu(settings: Settings) -> Plan:
    return plan(None, read(TINY), settings)


def test_nothing_of_a_model_folder_is_run_or_fetched(settings: Settings, on_cpu: Plan) -> None:
    given = arguments(TINY, settings.llm, on_cpu, on_cpu=True)
    assert given["trust_remote_code"] is False
    assert given["load_format"] == "safetensors"
    assert given["model_impl"] == "vllm"
    assert given["model"] == str(TINY)


def test_no_request_is_logged(settings: Settings, on_cpu: Plan) -> None:
    given = arguments(TINY, settings.llm, on_cpu, on_cpu=True)
    assert given["enable_log_requests"] is False
    assert given["disable_log_stats"] is True


def test_the_plan_is_followed(settings: Settings, on_cpu: Plan) -> None:
    given = arguments(TINY, settings.llm, on_cpu, on_cpu=True)
    assert given["max_model_len"] == on_cpu.context_tokens
    assert given["max_num_seqs"] == on_cpu.max_sequences + SPARE_SEATS
    assert given["kv_cache_memory_bytes"] > on_cpu.kv_bytes
    assert given["enforce_eager"] is True
    assert arguments(TINY, settings.llm, on_cpu, on_cpu=False)["enforce_eager"] is False


@pytest.mark.parametrize(
    ("dtype", "kv_dtype", "passed"),
    [("bfloat16", "bfloat16", "auto"), ("bfloat16", "fp8", "fp8"), ("float32", "float32", "auto")],
)
def test_the_past_is_kept_as_planned(
    settings: Settings, on_cpu: Plan, dtype: str, kv_dtype: str, passed: str
) -> None:
    planned = replace(on_cpu, dtype=dtype, kv_dtype=kv_dtype)
    given = arguments(TINY, settings.llm, planned, on_cpu=False)
    assert (given["dtype"], given["kv_cache_dtype"]) == (dtype, passed)
    assert given["attention_backend"] == ("TRITON_ATTN" if kv_dtype == "fp8" else None)


def test_the_longest_utterance_fits_and_a_whole_conversation_of_them(on_cpu: Plan) -> None:
    settings = load({"VOICE_LLM_MAX_UTTERANCE_SECONDS": "12", "VOICE_LLM_HISTORY_TURNS": "40"})
    audio = arguments(TINY, settings.llm, on_cpu, on_cpu=True)["limit_mm_per_prompt"]["audio"]
    assert audio == {"count": 40, "length": 12 * 16_000}
