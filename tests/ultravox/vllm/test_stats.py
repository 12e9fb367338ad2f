"""vLLM's figures as metrics."""

from __future__ import annotations

from types import SimpleNamespace

from appliance.ultravox.measures import EngineMeters
from appliance.ultravox.vllm.stats import SchedulerMeters


def test_what_the_scheduler_says_is_in_the_metrics() -> None:
    meters = EngineMeters()
    stats = SchedulerMeters(meters)
    cache = SimpleNamespace(queries=300, hits=128)
    step = SimpleNamespace(
        num_running_reqs=3, num_waiting_reqs=2, kv_cache_usage=0.25, prefix_cache_stats=cache
    )
    stats.record(step, None, mm_cache_stats=None, engine_idx=0)
    stats.record(step, None)
    stats.record(None, None)
    text = meters.render().decode()
    for line in (
        "voice_ultravox_sequences_running 3.0",
        "voice_ultravox_sequences_waiting 2.0",
        "voice_ultravox_kv_usage_ratio 0.25",
        "voice_ultravox_prefix_cache_query_tokens_total 600.0",
        "voice_ultravox_prefix_cache_hit_tokens_total 256.0",
    ):
        assert line in text


def test_what_else_vllm_calls_is_there() -> None:
    stats = SchedulerMeters(EngineMeters())
    stats.log()
    stats.log_engine_initialized()
    stats.record_sleep_state(1, 0)
