"""Watches one session: what its services report becomes turns, metrics and log lines."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.turn_record import Turns
from appliance.gateway.turn_report import TurnReport
from appliance.link.engine import Result
from appliance.metrics import GatewayMeters

log = journal.get()


class Monitor:
    """Holds the turns of a session; all times are of this process's monotonic clock."""

    def __init__(
        self, meters: GatewayMeters, transcripts: bool, send: Callable[[dict[str, object]], None]
    ) -> None:
        self._meters = meters
        self._turns = Turns()
        self._report = TurnReport(meters, transcripts, send)
        self._speech_started_at = 0.0

    def turn_ended_by(self, what: str) -> None:
        """The detector says what found the end of the turn."""
        self._turns.turn_ended_by(what)

    def count_audio(self, direction: str, size_bytes: int) -> None:
        """PCM passed, "in" or "out"."""
        self._meters.audio_bytes.labels(direction).inc(size_bytes)

    def heard(self, text: str, interrupted: bool, was_speaking: bool) -> None:
        """The bot has said what it had to say, or was cut off."""
        if interrupted and was_speaking:
            stopped_after = time.monotonic() - self._speech_started_at
            self._meters.barge_in_stop_seconds.observe(stopped_after)
        self._report.tell(self._turns.heard(text, interrupted))

    def close(self) -> None:
        """The session ends."""
        self._report.tell(self._turns.close())

    def speech_started(self, seconds_ago: float) -> None:
        """The user began to speak."""
        self._speech_started_at = time.monotonic() - seconds_ago

    def speech_ended(self, seconds_ago: float) -> None:
        """The user's speech ended, for now."""
        self._turns.speech_ended(time.monotonic() - seconds_ago)

    def asked(self, kind: str, speech_seconds: float) -> None:
        """A turn, "spoken" or "typed", wants an answer."""
        self._report.tell(self._turns.asked(kind, time.monotonic(), speech_seconds))

    def mark(self, name: str) -> Callable[[], None]:
        """A hook that notes when something of `turns.MARKS` happens."""
        return lambda: self._turns.mark(name, time.monotonic())

    def sounds(self) -> None:
        """The client says that the reply has become audible."""
        self._report.tell_heard(self._turns.sounds(time.monotonic()))

    def generated(self, result: Result) -> None:
        """The answer's text is complete."""
        self._turns.generated(result.stats)

    def called(self, outcome: str) -> None:
        """The model asked for a tool."""
        self._meters.tool_calls.labels(outcome).inc()
        log.info("tool called", outcome=outcome)

    def understood(self, text: str) -> None:
        """What the engine made of the user's speech."""
        self._turns.understood(text)

    def ended(self, outcome: str) -> None:
        """The turn came to nothing."""
        self._report.tell(self._turns.ended(outcome))

    def failed(self, engine: str) -> Callable[[EngineFailed], None]:
        """A hook for what `engine` did not do."""

        def count(problem: EngineFailed) -> None:
            self._meters.engine_failures.labels(engine, problem.reason).inc()
            log.warning("engine failed", engine=engine, reason=problem.reason)

        return count
