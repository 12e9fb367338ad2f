"""Export the statistics of vLLM's scheduler as metrics of the engine.

vLLM creates one logger per engine with a factory and calls its `record` after every step. The
protocols below declare the attributes that are used, so this module does not import vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from appliance.engines.llm.metrics import LLMMetrics


class PrefixCacheStats(Protocol):
    """Tokens looked up in the prefix cache and tokens found, since the last step."""

    queries: int
    hits: int


class SchedulerStats(Protocol):
    """The part of vllm.v1.metrics.stats.SchedulerStats that is used."""

    num_running_reqs: int
    num_waiting_reqs: int
    num_skipped_waiting_reqs: int
    kv_cache_usage: float
    prefix_cache_stats: PrefixCacheStats


class FinishedRequest(Protocol):
    """The part of vllm.v1.metrics.stats.FinishedRequestStats that is used; times in seconds."""

    queued_time: float


class IterationStats(Protocol):
    """The part of vllm.v1.metrics.stats.IterationStats that is used; times in seconds."""

    num_preempted_reqs: int
    inter_token_latencies_iter: Sequence[float]
    finished_requests: Sequence[FinishedRequest]


class VllmStatLogger:
    """Implements vLLM's `StatLoggerBase`."""

    def __init__(self, metrics: LLMMetrics) -> None:
        self._metrics = metrics

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Record the statistics of a scheduler step, of an iteration, or both."""
        if scheduler_stats is not None:
            self._record_scheduler(scheduler_stats)
        if iteration_stats is not None:
            self._record_iteration(iteration_stats)

    def _record_scheduler(self, stats: SchedulerStats) -> None:
        metrics = self._metrics
        metrics.sequences_running.set(stats.num_running_reqs)
        metrics.sequences_waiting.set(stats.num_waiting_reqs + stats.num_skipped_waiting_reqs)
        metrics.kv_usage_ratio.set(stats.kv_cache_usage)
        metrics.prefix_queries.inc(stats.prefix_cache_stats.queries)
        metrics.prefix_hits.inc(stats.prefix_cache_stats.hits)

    def _record_iteration(self, stats: IterationStats) -> None:
        metrics = self._metrics
        metrics.preemptions.inc(stats.num_preempted_reqs)
        for seconds in stats.inter_token_latencies_iter:
            metrics.token_interval_seconds.observe(seconds)
        for request in stats.finished_requests:
            metrics.queue_seconds.observe(request.queued_time)

    def log(self) -> None:
        """Do nothing, because the metrics contain everything."""

    def log_engine_initialized(self) -> None:
        """Do nothing."""

    def record_sleep_state(self, is_awake: int, level: int) -> None:
        """Do nothing, because the engine never sleeps."""
