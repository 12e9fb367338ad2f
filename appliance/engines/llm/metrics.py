"""The metrics of the speech-LLM engine, whichever model answers.

They live in this process; the gateway's exporter passes them on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from appliance.errors import ApplianceError, EngineFailed
from appliance.link.engine import Piece, Result
from appliance.metrics import new_registry

OUTCOMES = ("stop", "length", "called", "nothing_heard", "cancelled", "failed")
PROBES = ("healthy", "sick")
TOKEN_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.25, 0.5, 1.0)
QUEUE_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)


class EngineMeters:
    """All of them start at zero, so that a rate is right from the first event on."""

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        self.first_token_seconds = Histogram(
            "voice_llm_first_token_seconds",
            "From the request to the first token, hearing included.",
            buckets=SECONDS,
            registry=registry,
        )
        self.hearing_seconds = Histogram(
            "voice_llm_hearing_seconds",
            "What a request waited until the last utterance was understood.",
            buckets=SECONDS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "voice_llm_prompt_tokens",
            "Tokens of the prompts, cached ones included.",
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
        self.requests = Counter(
            "voice_llm_requests", "Replies by how they ended.", ["outcome"], registry=registry
        )
        for outcome in OUTCOMES:
            self.requests.labels(outcome)
        self.running = Gauge("voice_llm_requests_running", "Replies under way.", registry=registry)
        self.sequences_running = Gauge(
            "voice_llm_sequences_running",
            "What vLLM works on: replies, transcriptions and warming.",
            registry=registry,
        )
        self.sequences_waiting = Gauge(
            "voice_llm_sequences_waiting",
            "What vLLM was given and has not begun.",
            registry=registry,
        )
        self.kv_usage_ratio = Gauge(
            "voice_llm_kv_usage_ratio",
            "Part of vLLM's key-value cache that is in use.",
            registry=registry,
        )
        self.prefix_queries = Counter(
            "voice_llm_prefix_cache_query_tokens",
            "Prompt tokens that vLLM looked for in its prefix cache.",
            registry=registry,
        )
        self.prefix_hits = Counter(
            "voice_llm_prefix_cache_hit_tokens",
            "Prompt tokens that vLLM found in its prefix cache.",
            registry=registry,
        )
        self.preemptions = Counter(
            "voice_llm_preemptions",
            "Sequences that vLLM put back because its key-value cache was full.",
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "voice_llm_queue_seconds",
            "What vLLM let a sequence wait until it began it; of those that ended uncancelled.",
            buckets=QUEUE_SECONDS,
            registry=registry,
        )
        self.token_interval_seconds = Histogram(
            "voice_llm_token_interval_seconds",
            "From one token of a sequence in vLLM to its next.",
            buckets=TOKEN_SECONDS,
            registry=registry,
        )
        self.probes = Counter(
            "voice_llm_probes",
            "Looks at whether the model still answers as it did at the start, by result.",
            ["result"],
            registry=registry,
        )
        for result in PROBES:
            self.probes.labels(result)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)


@dataclass(slots=True)
class Request:
    """Begins when it is made. `stats` go to the gateway with the Result; times are seconds."""

    engine: str
    meters: EngineMeters
    began: float = field(default_factory=time.monotonic)
    stats: dict[str, float] = field(default_factory=dict)

    def heard(self, spoken: bool) -> None:
        """All that was said is known; `spoken`: for that the engine had to hear something."""
        self.stats["hearing_seconds"] = self._elapsed()
        if spoken:
            self.meters.hearing_seconds.observe(self.stats["hearing_seconds"])

    def first_token(self) -> None:
        """The model has read the prompt."""
        self.stats["first_token_seconds"] = self._elapsed()
        self.stats["prompt_seconds"] = self._elapsed() - self.stats["hearing_seconds"]
        self.meters.first_token_seconds.observe(self.stats["first_token_seconds"])

    async def counted(self, answer: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """Passes the answer on and counts how it ended.

        Raises the answer's own ApplianceError, and EngineFailed for whatever else it raises.
        """
        outcome = "cancelled"
        try:
            with self.meters.running.track_inprogress():
                async with contextlib.aclosing(answer):
                    async for piece in answer:
                        if isinstance(piece, Result):
                            outcome = piece.reason
                        yield piece
        except ApplianceError:
            outcome = "failed"
            raise
        except Exception as problem:
            outcome = "failed"
            raise EngineFailed(engine=self.engine) from problem
        finally:
            self.meters.requests.labels(outcome).inc()
            self.meters.decode_tokens.inc(self.stats.get("decode_tokens", 0))

    def _elapsed(self) -> float:
        return time.monotonic() - self.began
