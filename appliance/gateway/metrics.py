"""The metrics of the gateway: name, meaning, buckets and label values.

All label values are known in advance, and each has a sample of zero from the start. No label
identifies a session or a caller. Time buckets are in seconds.
"""

from __future__ import annotations

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from appliance.confinement.confine import GAPS
from appliance.errors import ApplianceError, EngineFailed, Refused, SessionEnded, catalogue
from appliance.journal_fields import LEVELS, STAGES
from appliance.metrics import at_zero, new_registry
from appliance.processes import ENGINES
from appliance.settings import VERSION

SESSION_OUTCOMES = ("left",)  # the client disconnected; other outcomes are SessionEnded reasons
TURN_OUTCOMES = ("answered", "interrupted", "nothing_heard", "failed", "too_short", "joined")
TOOL_OUTCOMES = ("done", "failed", "too_slow", "malformed")
SPECULATION_OUTCOMES = (
    "taken",
    "speech_resumed",
    "interrupted",
    "changed",
    "failed",
    "session_ended",
)
TURN_ENDS = ("smart_turn", "pace", "words", "fallback", "timeout")
PAUSE_OUTCOMES = ("continued", "interrupted", "joined")
DIRECTIONS = ("in", "out")
Weakness = Literal["short_token", "readable_token", "readable_store"]
WEAKNESSES: tuple[Weakness, ...] = get_args(Weakness)

LATENCY_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 8)
STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5)
BARGE_IN_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2)
SESSION_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5)


def reasons(kind: type[ApplianceError]) -> tuple[str, ...]:
    """Return the sorted reasons of all errors of a kind: the values of a `reason` label."""
    return tuple(sorted(r for r, error in catalogue().items() if issubclass(error, kind)))


class GatewayMetrics:
    """All metrics of one gateway, in a registry of its own."""

    def __init__(self, profile: str) -> None:
        self.registry = registry = new_registry()
        build = Info("voice_build", "Running version and profile.", registry=registry)
        build.info({"version": VERSION, "profile": profile})
        self._add_state(registry)
        self._add_sessions(registry)
        self._add_tokens(registry)
        self._add_turns(registry)
        self._add_latencies(registry)
        self._add_interruptions(registry)
        self._add_process(registry)

    def _add_state(self, registry: CollectorRegistry) -> None:
        """Readiness, the certificate, and what a gateway that is taken over could do."""
        self.ready = Gauge(
            "voice_ready",
            "1 while new sessions are admitted: all engines are ready, not draining, not closed.",
            registry=registry,
        )
        self.ready_changed_timestamp_seconds = Gauge(
            "voice_ready_changed_timestamp_seconds",
            "Unix time of the last change of voice_ready; 0 until it was 1 for the first time.",
            registry=registry,
        )
        self.draining = Gauge(
            "voice_draining",
            "1 while the gateway drains: for an operator, or because it stops.",
            registry=registry,
        )
        self.closed = Gauge(
            "voice_closed",
            "1 while only the acceptance test may call: until an operator opens the appliance.",
            registry=registry,
        )
        self._ready = self._draining = self._closed = False
        self.tls_certificate_expiry = Gauge(
            "voice_tls_certificate_expiry_timestamp_seconds",
            "Unix time at which the certificate expires; 0 if calls are not encrypted.",
            registry=registry,
        )
        self.tls_key_exposed = Gauge(
            "voice_tls_key_exposed",
            "1 while all users of the host can read the key of the certificate.",
            registry=registry,
        )
        self.confinement_gap = at_zero(
            Gauge(
                "voice_confinement_gap",
                "1 for what this host's kernel does not keep the gateway from: writing files of "
                "other processes, opening TCP connections, or the filtered system calls.",
                ["gap"],
                registry=registry,
            ),
            GAPS,
        )

    def _add_sessions(self, registry: CollectorRegistry) -> None:
        """Sessions, their audio, and refusals."""
        self.sessions_active = Gauge("voice_sessions_active", "Open sessions.", registry=registry)
        self.sessions_max = Gauge(
            "voice_sessions_max",
            "Limit of open sessions; further connections are refused.",
            registry=registry,
        )
        self.sessions = at_zero(
            Counter(
                "voice_sessions",
                "Ended sessions: the client left, or why the gateway closed the connection.",
                ["outcome"],
                registry=registry,
            ),
            SESSION_OUTCOMES + reasons(SessionEnded),
        )
        self.sessions_rejected = at_zero(
            Counter(
                "voice_sessions_rejected",
                "Connections refused before the WebSocket upgrade.",
                ["reason"],
                registry=registry,
            ),
            reasons(Refused),
        )
        self.session_duration_seconds = Histogram(
            "voice_session_duration_seconds",
            "Duration of ended sessions.",
            buckets=SESSION_BUCKETS,
            registry=registry,
        )
        self.audio_bytes = at_zero(
            Counter(
                "voice_audio_bytes",
                "PCM received from clients (in) and sent to them (out).",
                ["direction"],
                registry=registry,
            ),
            DIRECTIONS,
        )

    def _add_tokens(self, registry: CollectorRegistry) -> None:
        """Access tokens."""
        self.tokens = Gauge(
            "voice_tokens",
            "Access tokens that are valid: created, and not expired.",
            registry=registry,
        )
        self.token_store_failing = Gauge(
            "voice_token_store_failing",
            "1 while token store or file cannot be read; the tokens read last stay valid.",
            registry=registry,
        )
        self.token_weak = at_zero(
            Gauge(
                "voice_token_weak",
                "1 while the shared token has fewer than 32 characters (short_token), or all users "
                "of the host can read its file (readable_token) or the store (readable_store).",
                ["weakness"],
                registry=registry,
            ),
            WEAKNESSES,
        )

    def _add_turns(self, registry: CollectorRegistry) -> None:
        """Turns: how they ended, and what their replies took."""
        self.turns = at_zero(
            Counter("voice_turns", "Completed user turns.", ["outcome"], registry=registry),
            TURN_OUTCOMES,
        )
        self.turn_ends = at_zero(
            Counter(
                "voice_turn_ends",
                "Ends of spoken turns: by smart-turn, by the pace of the speech, by the words, by "
                "the silence fallback, or by the last-resort timeout.",
                ["by"],
                registry=registry,
            ),
            TURN_ENDS,
        )
        self.speculations = at_zero(
            Counter(
                "voice_speculations",
                "Replies begun at a pause: taken over when the turn ended there, or why they were "
                "discarded.",
                ["outcome"],
                registry=registry,
            ),
            SPECULATION_OUTCOMES,
        )
        self.tool_calls = at_zero(
            Counter(
                "voice_tool_calls",
                "Tool calls of the model; a malformed call is not run.",
                ["outcome"],
                registry=registry,
            ),
            TOOL_OUTCOMES,
        )

    def _add_latencies(self, registry: CollectorRegistry) -> None:
        """How long users wait for a reply."""
        self.turn_response_latency_seconds = Histogram(
            "voice_turn_response_latency_seconds",
            "From the true end of the user's speech to the first sample of the reply sent.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.turn_heard_latency_seconds = Histogram(
            "voice_turn_heard_latency_seconds",
            "From the true end of the user's speech to the client's report that the reply plays: "
            "the response latency plus the client's buffer and a network round trip.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.stage_latency_seconds = at_zero(
            Histogram(
                "voice_stage_latency_seconds",
                "Stages of voice_turn_response_latency_seconds; they add up to it.",
                ["stage"],
                buckets=STAGE_BUCKETS,
                registry=registry,
            ),
            STAGES,
        )

    def _add_interruptions(self, registry: CollectorRegistry) -> None:
        """Interruptions, and pauses that may become one."""
        self.barge_in_stop_seconds = Histogram(
            "voice_barge_in_stop_seconds",
            "From the first sample of an interrupting user to the last sample of the bot sent.",
            buckets=BARGE_IN_BUCKETS,
            registry=registry,
        )
        self.pauses = at_zero(
            Counter(
                "voice_bot_pauses",
                "Pauses of the bot because of the user's voice: the bot went on, because the user "
                "did not ask for the turn; it was interrupted; or the user went on with the "
                "question before the reply was heard.",
                ["outcome"],
                registry=registry,
            ),
            PAUSE_OUTCOMES,
        )

    def _add_process(self, registry: CollectorRegistry) -> None:
        """The process itself, its engines and its logs."""
        self.engine_failures = at_zero(
            Counter(
                "voice_engine_failures",
                "Failed requests to an engine.",
                ["engine", "reason"],
                registry=registry,
            ),
            ENGINES,
            reasons(EngineFailed),
        )
        self.event_loop_lag_seconds = Histogram(
            "voice_event_loop_lag_seconds",
            "Delay of a timer of the gateway's event loop; above 0.06 s callers hear gaps.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.audit_failing = Gauge(
            "voice_audit_failing",
            "1 while lines of the audit log cannot be written to its folder.",
            registry=registry,
        )
        self.audit_lines_lost = Counter(
            "voice_audit_lines_lost",
            "Lines of the audit log that were written to the log only, although a folder is set.",
            registry=registry,
        )
        self.log_events = at_zero(
            Counter(
                "voice_log_events",
                "Log lines of the gateway.",
                ["level"],
                registry=registry,
            ),
            LEVELS,
        )

    def set_state(self, ready: bool, draining: bool, closed: bool) -> tuple[bool, bool]:
        """Update the gauges. Return whether `draining` has changed, and whether `closed` has."""
        if ready != self._ready:
            self.ready_changed_timestamp_seconds.set_to_current_time()
        changed = (draining != self._draining, closed != self._closed)
        self._ready, self._draining, self._closed = ready, draining, closed
        self.ready.set(ready)
        self.draining.set(draining)
        self.closed.set(closed)
        return changed

    def count_log_event(self, level: str) -> None:
        """Count a log line; a hook for `journal.on_event`."""
        self.log_events.labels(level).inc()
