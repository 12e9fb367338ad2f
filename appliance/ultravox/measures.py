"""The metrics of the speech-LLM engine, whichever model answers.

They live in this process; the gateway's exporter passes them on.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from appliance.meters import new_registry

OUTCOMES = ("stop", "length", "nothing_heard", "cancelled", "failed")
SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)


class EngineMeters:
    """All of them start at zero, so that a rate is right from the first event on."""

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        self.first_token_seconds = Histogram(
            "voice_ultravox_first_token_seconds",
            "From the request to the first token, hearing included.",
            buckets=SECONDS,
            registry=registry,
        )
        self.hearing_seconds = Histogram(
            "voice_ultravox_hearing_seconds",
            "What a request waited until the last utterance was understood.",
            buckets=SECONDS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "voice_ultravox_prompt_tokens",
            "Tokens of the prompts, cached ones included.",
            registry=registry,
        )
        self.cached_tokens = Counter(
            "voice_ultravox_cached_tokens",
            "Tokens of the prompts that were in the cache.",
            registry=registry,
        )
        self.decode_tokens = Counter(
            "voice_ultravox_decode_tokens", "Tokens of the replies.", registry=registry
        )
        self.requests = Counter(
            "voice_ultravox_requests", "Replies by how they ended.", ["outcome"], registry=registry
        )
        for outcome in OUTCOMES:
            self.requests.labels(outcome)
        self.running = Gauge(
            "voice_ultravox_requests_running", "Replies under way.", registry=registry
        )

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)
