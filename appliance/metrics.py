"""Every metric of the gateway: name, meaning, buckets and label values, in one place.

Built once, passed down. Each label set exists from the start at zero, so that a rate over the
first event is right. No label is unbounded: nothing about a session or a caller. Engines keep
metrics of their own under `voice_llm_` and `voice_tts_`; the exporter adds the processes.
"""

from __future__ import annotations

import itertools
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

from appliance.errors import ApplianceError, EngineFailed, Refused, SessionEnded, catalogue
from appliance.journal import LEVELS
from appliance.processes import ENGINES
from appliance.settings import VERSION

SESSION_OUTCOMES = ("left",)  # the client left; all other outcomes are reasons of SessionEnded
TURN_OUTCOMES = ("answered", "interrupted", "nothing_heard", "failed", "too_short")
TOOL_OUTCOMES = ("done", "failed", "too_slow", "unreadable")
TURN_ENDS = ("smart_turn", "fallback", "timeout")
STAGES = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")
DIRECTIONS = ("in", "out")

LATENCY_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 8)
STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5)
BARGE_IN_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2)
SESSION_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5)

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


def reasons(kind: type[ApplianceError]) -> tuple[str, ...]:
    """The reasons of all errors of a kind, sorted: the values of a `reason` label."""
    return tuple(sorted(r for r, error in catalogue().items() if issubclass(error, kind)))


class GatewayMeters:
    """What the gateway measures. `registry` is its own; `render` turns it into text."""

    def __init__(self, profile: str) -> None:
        self.registry = registry = new_registry()
        build = Info("voice_build", "What runs: version and profile.", registry=registry)
        build.info({"version": VERSION, "profile": profile})

        self.ready = Gauge(
            "voice_ready",
            "1 when calls are taken: engines warm and not draining.",
            registry=registry,
        )
        self.ready_changed_timestamp_seconds = Gauge(
            "voice_ready_changed_timestamp_seconds",
            "Unix time since which voice_ready is what it is; 0 until it is 1 for the first time.",
            registry=registry,
        )
        self.draining = Gauge(
            "voice_draining",
            "1 while an operator, or a stop, keeps new calls out.",
            registry=registry,
        )
        self._ready = self._draining = False
        self.sessions_active = Gauge(
            "voice_sessions_active", "Calls going on now.", registry=registry
        )
        self.sessions_max = Gauge(
            "voice_sessions_max",
            "Most calls at the same time; the next one is refused.",
            registry=registry,
        )
        self.sessions = _zeroed(
            Counter(
                "voice_sessions",
                "Calls that ended, by how: the client left, or the reason we closed for.",
                ["outcome"],
                registry=registry,
            ),
            SESSION_OUTCOMES + reasons(SessionEnded),
        )
        self.sessions_rejected = _zeroed(
            Counter(
                "voice_sessions_rejected",
                "Callers turned away before the upgrade, by reason.",
                ["reason"],
                registry=registry,
            ),
            reasons(Refused),
        )
        self.session_duration_seconds = Histogram(
            "voice_session_duration_seconds",
            "How long calls lasted.",
            buckets=SESSION_BUCKETS,
            registry=registry,
        )
        self.turns = _zeroed(
            Counter(
                "voice_turns",
                "Turns of users, by what came of them.",
                ["outcome"],
                registry=registry,
            ),
            TURN_OUTCOMES,
        )
        self.turn_ends = _zeroed(
            Counter(
                "voice_turn_ends",
                "Ends of users' turns, by what found them: smart-turn, its silence fallback, "
                "or the last-resort timeout.",
                ["by"],
                registry=registry,
            ),
            TURN_ENDS,
        )
        self.tool_calls = _zeroed(
            Counter(
                "voice_tool_calls",
                "Tools the model asked for, by what came of it; an unreadable call is not run.",
                ["outcome"],
                registry=registry,
            ),
            TOOL_OUTCOMES,
        )
        self.turn_response_latency_seconds = Histogram(
            "voice_turn_response_latency_seconds",
            "True end of the user's speech to the first audible sample sent.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.turn_heard_latency_seconds = Histogram(
            "voice_turn_heard_latency_seconds",
            "True end of the user's speech to the client's word that the reply sounds: the "
            "response latency, the client's buffer and the way there and back.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.stage_latency_seconds = _zeroed(
            Histogram(
                "voice_stage_latency_seconds",
                "Stages of voice_turn_response_latency_seconds; they sum to it.",
                ["stage"],
                buckets=STAGE_BUCKETS,
                registry=registry,
            ),
            STAGES,
        )
        self.barge_in_stop_seconds = Histogram(
            "voice_barge_in_stop_seconds",
            "First sample of an interrupting user to the last sample of the bot sent.",
            buckets=BARGE_IN_BUCKETS,
            registry=registry,
        )
        self.audio_bytes = _zeroed(
            Counter(
                "voice_audio_bytes",
                "PCM received from and sent to callers.",
                ["direction"],
                registry=registry,
            ),
            DIRECTIONS,
        )
        self.engine_failures = _zeroed(
            Counter(
                "voice_engine_failures",
                "Requests an engine did not fulfil, by engine and reason.",
                ["engine", "reason"],
                registry=registry,
            ),
            ENGINES,
            reasons(EngineFailed),
        )
        self.event_loop_lag_seconds = Histogram(
            "voice_event_loop_lag_seconds",
            "How late the gateway's event loop woke up; above 0.06 callers hear gaps.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.log_events = _zeroed(
            Counter(
                "voice_log_events",
                "Lines of the gateway's log, by level.",
                ["level"],
                registry=registry,
            ),
            LEVELS,
        )

    def note_house(self, ready: bool, draining: bool) -> bool:
        """Shows whether calls are taken; returns whether a drain has begun or was undone."""
        if ready != self._ready:
            self.ready_changed_timestamp_seconds.set_to_current_time()
        changed = draining != self._draining
        self._ready, self._draining = ready, draining
        self.ready.set(ready)
        self.draining.set(draining)
        return changed

    def count_log_event(self, level: str) -> None:
        """For `journal.on_event`."""
        self.log_events.labels(level).inc()


def new_registry() -> CollectorRegistry:
    """An empty registry whose counters come without their `_created` companions."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()


def render(registry: CollectorRegistry) -> bytes:
    """All metrics of a registry in Prometheus text format."""
    return generate_latest(registry)


def _zeroed(metric: _Metric, *values: tuple[str, ...]) -> _Metric:
    """The metric with every combination of its label values present at zero."""
    for combination in itertools.product(*values):
        metric.labels(*combination)
    return metric
