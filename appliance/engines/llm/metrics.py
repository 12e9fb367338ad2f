"""Metrics of the speech-LLM engine, the same for every model.

They are stored in the engine's process. Prometheus collects them through the exporter.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from appliance.errors import ApplianceError, EngineFailed
from appliance.link.engine import Chunk, Result
from appliance.metrics import at_zero, new_registry, render

OUTCOMES = ("stop", "length", "tool_call", "nothing_heard", "cancelled", "failed")
PROBE_RESULTS = ("healthy", "sick")
TOKEN_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.25, 0.5, 1.0)  # seconds
QUEUE_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)  # seconds
LATENCY_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)  # seconds


class LLMMetrics:
    """The metrics `voice_llm_*`, in a separate registry.

    Every label value starts at zero, so that a rate includes the first event.
    """

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        self._add_replies(registry)
        self._add_scheduler(registry)
        self._add_probes(registry)

    def _add_replies(self, registry: CollectorRegistry) -> None:
        """Replies, and what they take; measured by `GenerationTimer`."""
        self.first_token_seconds = Histogram(
            "voice_llm_first_token_seconds",
            "From the request to the first token, including audio processing; excludes speculative "
            "requests that were cancelled.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.hearing_seconds = Histogram(
            "voice_llm_hearing_seconds",
            "Time a request waited until the last utterance was processed.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "voice_llm_prompt_tokens",
            "Tokens of the prompts, including cached tokens.",
            registry=registry,
        )
        self.cached_tokens = Counter(
            "voice_llm_cached_tokens",
            "Tokens of the prompts that were in the cache.",
            registry=registry,
        )
        self.decode_tokens = Counter(
            "voice_llm_decode_tokens", "Tokens of the replies.", registry=registry
        )
        self.requests = at_zero(
            Counter("voice_llm_requests", "Replies by outcome.", ["outcome"], registry=registry),
            OUTCOMES,
        )
        self.copies = Counter(
            "voice_llm_copies",
            "Replies decoded again, because they began as a copy of an earlier answer or the "
            "caller's sentence (small engine).",
            registry=registry,
        )
        self.running = Gauge(
            "voice_llm_requests_running", "Replies being generated.", registry=registry
        )

    def _add_scheduler(self, registry: CollectorRegistry) -> None:
        """The scheduler and the caches of vLLM; zero in the small engine."""
        self.sequences_running = Gauge(
            "voice_llm_sequences_running",
            "Sequences that vLLM processes: replies, transcriptions and prefills.",
            registry=registry,
        )
        self.sequences_waiting = Gauge(
            "voice_llm_sequences_waiting",
            "Sequences that vLLM has received but not started.",
            registry=registry,
        )
        self.kv_usage_ratio = Gauge(
            "voice_llm_kv_usage_ratio",
            "Fraction of vLLM's key-value cache that is in use.",
            registry=registry,
        )
        self.prefix_queries = Counter(
            "voice_llm_prefix_cache_query_tokens",
            "Prompt tokens that vLLM looked up in its prefix cache.",
            registry=registry,
        )
        self.prefix_hits = Counter(
            "voice_llm_prefix_cache_hit_tokens",
            "Prompt tokens that vLLM found in its prefix cache.",
            registry=registry,
        )
        self.preemptions = Counter(
            "voice_llm_preemptions",
            "Sequences that vLLM preempted because its key-value cache was full.",
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "voice_llm_queue_seconds",
            "Time a sequence waited in vLLM before it started; excludes cancelled sequences.",
            buckets=QUEUE_BUCKETS,
            registry=registry,
        )
        self.token_interval_seconds = Histogram(
            "voice_llm_token_interval_seconds",
            "Time between two tokens of a sequence in vLLM.",
            buckets=TOKEN_BUCKETS,
            registry=registry,
        )

    def _add_probes(self, registry: CollectorRegistry) -> None:
        """Checks of the model."""
        self.probes = at_zero(
            Counter(
                "voice_llm_probes",
                "Checks that the model still gives the same output as at startup, by result.",
                ["result"],
                registry=registry,
            ),
            PROBE_RESULTS,
        )

    def render(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return render(self.registry)


class GenerationTimer:
    """Measures one generation, starting when the timer is created.

    `stats` is returned to the gateway in the Result. Times are in seconds since the start. The
    times of a speculative generation are observed when it is confirmed or complete, because nobody
    waits before.
    """

    def __init__(self, engine: str, metrics: LLMMetrics, speculative: bool = False) -> None:
        self.stats: dict[str, float] = {}
        self._speculative = speculative
        self._unobserved: list[tuple[Histogram, float]] = []
        self._engine = engine
        self._metrics = metrics
        self._started = time.monotonic()

    def confirm(self) -> None:
        """Observe the times of a speculative generation: its user waits from now on."""
        self._speculative = False
        for histogram, seconds in self._unobserved:
            histogram.observe(seconds)
        self._unobserved.clear()

    def mark_understood(self, has_speech: bool) -> None:
        """Record that all utterances are processed. `has_speech`: there was audio to process."""
        self.stats["hearing_seconds"] = self._elapsed()
        if has_speech:
            self._observe(self._metrics.hearing_seconds, self.stats["hearing_seconds"])

    def mark_first_token(self) -> None:
        """Record that the model has processed the prompt and produced its first token."""
        self.stats["first_token_seconds"] = self._elapsed()
        self.stats["prompt_seconds"] = self._elapsed() - self.stats["hearing_seconds"]
        self._observe(self._metrics.first_token_seconds, self.stats["first_token_seconds"])

    async def track(self, pieces: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
        """Yield the reply unchanged and count its outcome.

        Re-raises the ApplianceErrors of `pieces`, and raises EngineFailed for any other error.
        """
        outcome = "cancelled"
        try:
            with self._metrics.running.track_inprogress():
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        if isinstance(piece, Result):
                            outcome = piece.reason
                        yield piece
        except ApplianceError:
            outcome = "failed"
            raise
        except Exception as problem:
            outcome = "failed"
            raise EngineFailed(engine=self._engine) from problem
        finally:
            if outcome != "cancelled":
                self.confirm()
            self._metrics.requests.labels(outcome).inc()
            self._metrics.decode_tokens.inc(self.stats.get("decode_tokens", 0))

    def _observe(self, histogram: Histogram, seconds: float) -> None:
        if self._speculative:
            self._unobserved.append((histogram, seconds))
        else:
            histogram.observe(seconds)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started
