"""vLLM's figures as metrics."""

from __future__ import annotations

from types import SimpleNamespace

from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.vllm.stats import VllmStatLogger


def test_what_the_scheduler_says_is_in_the_metrics() -> None:
    meters = LLMMetrics()
    stats = VllmStatLogger(meters)
    cache = SimpleNamespace(queries=300, hits=128)
    step = SimpleNamespace(
        num_running_reqs=3,
        num_waiting_reqs=1,
        num_skipped_waiting_reqs=1,
        kv_cache_usage=0.25,
        prefix_cache_stats=cache,
    )
    stats.record(step, None, mm_cache_stats=None, engine_idx=0)
    stats.record(step, None)
    stats.record(None, None)
    text = meters.render().decode()
    for line in (
        "voice_llm_sequences_running 3.0",
        "voice_llm_sequences_waiting 2.0",
        "voice_llm_kv_usage_ratio 0.25",
        "voice_llm_prefix_cache_query_tokens_total 600.0",
        "voice_llm_prefix_cache_hit_tokens_total 256.0",
    ):
        assert line in text


def test_what_came_out_of_a_step_is_in_the_metrics() -> None:
    meters = LLMMetrics()
    ended = [SimpleNamespace(queued_time=0.25), SimpleNamespace(queued_time=0.5)]
    step = SimpleNamespace(
        num_preempted_reqs=2, inter_token_latencies_iter=[0.03, 0.05], finished_requests=ended
    )
    stats = VllmStatLogger(meters)
    stats.record(None, step)
    stats.record(None, step)
    text = meters.render().decode()
    for line in (
        "voice_llm_preemptions_total 4.0",
        "voice_llm_token_interval_seconds_count 4.0",
        "voice_llm_token_interval_seconds_sum 0.16",
        "voice_llm_queue_seconds_count 4.0",
        "voice_llm_queue_seconds_sum 1.5",
    ):
        assert line in text


def test_what_else_vllm_calls_is_there() -> None:
    stats = VllmStatLogger(LLMMetrics())
    stats.log()
    stats.log_engine_initialized()
    stats.record_sleep_state(1, 0)
