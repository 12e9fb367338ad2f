"""What vLLM's scheduler says of itself, into the engine's metrics.

vLLM asks a factory for one object per engine and calls `record` after every step; what it passes
is told by its attributes, so that nothing of vLLM is needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from appliance.engines.llm.metrics import EngineMeters


class PrefixCacheStats(Protocol):
    """Tokens looked for and found since the last step."""

    queries: int
    hits: int


class SchedulerStats(Protocol):
    """vllm.v1.metrics.stats.SchedulerStats, as far as it is used."""

    num_running_reqs: int
    num_waiting_reqs: int
    num_skipped_waiting_reqs: int
    kv_cache_usage: float
    prefix_cache_stats: PrefixCacheStats


class FinishedRequest(Protocol):
    """vllm.v1.metrics.stats.FinishedRequestStats; seconds by the clock of vLLM's core."""

    queued_time: float


class IterationStats(Protocol):
    """vllm.v1.metrics.stats.IterationStats: what came out of one step; seconds as above."""

    num_preempted_reqs: int
    inter_token_latencies_iter: Sequence[float]
    finished_requests: Sequence[FinishedRequest]


class SchedulerMeters:
    """vLLM's `StatLoggerBase`."""

    def __init__(self, meters: EngineMeters) -> None:
        self._meters = meters

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """A step of the scheduler, or what came out of one."""
        if scheduler_stats is not None:
            self._note_state(scheduler_stats)
        if iteration_stats is not None:
            self._note_step(iteration_stats)

    def _note_state(self, now: SchedulerStats) -> None:
        meters = self._meters
        meters.sequences_running.set(now.num_running_reqs)
        meters.sequences_waiting.set(now.num_waiting_reqs + now.num_skipped_waiting_reqs)
        meters.kv_usage_ratio.set(now.kv_cache_usage)
        meters.prefix_queries.inc(now.prefix_cache_stats.queries)
        meters.prefix_hits.inc(now.prefix_cache_stats.hits)

    def _note_step(self, step: IterationStats) -> None:
        meters = self._meters
        meters.preemptions.inc(step.num_preempted_reqs)
        for seconds in step.inter_token_latencies_iter:
            meters.token_interval_seconds.observe(seconds)
        for request in step.finished_requests:
            meters.queue_seconds.observe(request.queued_time)

    def log(self) -> None:
        """Nothing: what is to be known is in the metrics."""

    def log_engine_initialized(self) -> None:
        """Nothing."""

    def record_sleep_state(self, is_awake: int, level: int) -> None:
        """Nothing: the engine never sleeps."""
