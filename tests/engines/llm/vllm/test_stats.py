"""Conversion of vLLM's scheduler statistics to metrics."""

from __future__ import annotations

from types import SimpleNamespace

from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.vllm.stats import VllmStatLogger


def test_scheduler_statistics_are_exported_as_metrics() -> None:
    metrics = LLMMetrics()
    logger = VllmStatLogger(metrics)
    cache = SimpleNamespace(queries=300, hits=128)
    scheduler_stats = SimpleNamespace(
        num_running_reqs=3,
        num_waiting_reqs=1,
        num_skipped_waiting_reqs=1,
        kv_cache_usage=0.25,
        prefix_cache_stats=cache,
    )
    logger.record(scheduler_stats, None, mm_cache_stats=None, engine_idx=0)
    logger.record(scheduler_stats, None)
    logger.record(None, None)
    text = metrics.render().decode()
    for line in (
        "voice_llm_sequences_running 3.0",
        "voice_llm_sequences_waiting 2.0",
        "voice_llm_kv_usage_ratio 0.25",
        "voice_llm_prefix_cache_query_tokens_total 600.0",
        "voice_llm_prefix_cache_hit_tokens_total 256.0",
    ):
        assert line in text


def test_iteration_statistics_are_exported_as_metrics() -> None:
    metrics = LLMMetrics()
    finished = [SimpleNamespace(queued_time=0.25), SimpleNamespace(queued_time=0.5)]
    iteration_stats = SimpleNamespace(
        num_preempted_reqs=2, inter_token_latencies_iter=[0.03, 0.05], finished_requests=finished
    )
    logger = VllmStatLogger(metrics)
    logger.record(None, iteration_stats)
    logger.record(None, iteration_stats)
    text = metrics.render().decode()
    for line in (
        "voice_llm_preemptions_total 4.0",
        "voice_llm_token_interval_seconds_count 4.0",
        "voice_llm_token_interval_seconds_sum 0.16",
        "voice_llm_queue_seconds_count 4.0",
        "voice_llm_queue_seconds_sum 1.5",
    ):
        assert line in text


def test_other_methods_of_a_stat_logger_do_nothing() -> None:
    logger = VllmStatLogger(LLMMetrics())
    logger.log()
    logger.log_engine_initialized()
    logger.record_sleep_state(1, 0)
