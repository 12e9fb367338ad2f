"""Measures a session: the pipeline reports its events here, and they become metrics and turns.

`SessionMonitor` adds the time. `TurnRecorder` builds a record of each turn, and `TurnReporter`
publishes each completed turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.metrics import DIRECTIONS, GatewayMetrics
from appliance.gateway.turn_record import TurnRecorder
from appliance.gateway.turn_report import TurnReporter
from appliance.link.engine import Result

log = journal.get()


class SessionMonitor:
    """The events of one session. `send` sends a server message to the client."""

    def __init__(
        self,
        metrics: GatewayMetrics,
        transcripts: bool,
        send: Callable[[dict[str, object]], None],
    ) -> None:
        self._metrics = metrics
        self._audio_bytes = {way: metrics.audio_bytes.labels(way) for way in DIRECTIONS}
        self._turns = TurnRecorder()
        self._reporter = TurnReporter(metrics, transcripts, send)
        self._speech_started_at = 0.0
        self._stop_seconds: float | None = None  # of the pause that is not decided yet
        # Of an interruption, until it is known that the user does not go on with a question.
        self._interruption_seconds: float | None = None
        self._pause_interrupted = False

    def close(self) -> None:
        """Complete the turn that is open when the session ends."""
        self._count_interruption(joined=False)
        self._reporter.report(self._turns.close())

    def count_audio(self, direction: str, size_bytes: int) -> None:
        """Count PCM received ("in") or sent ("out")."""
        self._audio_bytes[direction].inc(size_bytes)

    def speech_started(self, seconds_ago: float) -> None:
        """Note that the user started to speak."""
        self._speech_started_at = time.monotonic() - seconds_ago

    def speech_stopped(self, seconds_ago: float) -> None:
        """Note that the user stopped speaking. The turn may still continue."""
        self._turns.speech_stopped(time.monotonic() - seconds_ago)

    def turn_ended_by(self, detector: str) -> None:
        """Note what detected the end of the turn: one of metrics.TURN_ENDS."""
        self._turns.turn_ended_by(detector)

    def turn_submitted(self, kind: str, speech_seconds: float, joined: bool) -> None:
        """Note that a turn, "spoken" or "typed", waits for a reply.

        `joined`: the question of the previous turn is the beginning of this one's.
        """
        self._count_interruption(joined)
        now = time.monotonic()
        self._reporter.report(self._turns.turn_submitted(kind, now, speech_seconds, joined))

    def transcribed(self, text: str) -> None:
        """Note the transcript of the user's speech."""
        self._turns.transcribed(text)

    def mark(self, name: str) -> Callable[[], None]:
        """Return a hook that sets a mark of turn_record.MARKS."""
        return lambda: self._turns.mark(name, time.monotonic())

    def speculation_ended(self, outcome: str, seconds: float) -> None:
        """Note that a speculative reply was taken over or discarded.

        `outcome` is one of metrics.SPECULATION_OUTCOMES, `seconds` the time since it was begun.
        """
        self._metrics.speculations.labels(outcome).inc()
        if outcome == "taken":
            self._turns.speculation_taken(seconds)

    def tool_called(self, outcome: str) -> None:
        """Count a tool call that has ended with one of metrics.TOOL_OUTCOMES."""
        self._metrics.tool_calls.labels(outcome).inc()
        log.info("tool called", outcome=outcome)

    def generated(self, result: Result) -> None:
        """Note that the text of the reply is complete."""
        self._turns.generated(result.stats)

    def playback_started(self) -> None:
        """Note the client's report that the reply has become audible."""
        self._reporter.report_heard(self._turns.playback_started(time.monotonic()))

    def bot_paused(self) -> None:
        """Note that the user's voice has paused the bot."""
        self._stop_seconds = time.monotonic() - self._speech_started_at

    def pause_ended(self, outcome: str) -> None:
        """Note that a pause of the bot has ended: "continued" or "interrupted".

        An interruption is counted when it is known that the user does not go on with a question.
        """
        if outcome == "interrupted":
            self._pause_interrupted = True
            return
        self._metrics.pauses.labels(outcome).inc()
        self._stop_seconds = None
        self._turns.pause_continued()

    def heard(self, text: str, interrupted: bool, was_speaking: bool) -> None:
        """Note the text that the user has heard until the bot finished or was interrupted."""
        stop_seconds, self._stop_seconds = self._stop_seconds, None
        if interrupted and was_speaking:
            if stop_seconds is None:
                stop_seconds = time.monotonic() - self._speech_started_at
            self._interruption_seconds = stop_seconds
        self._reporter.report(self._turns.heard(text, interrupted))
        if not self._turns.cut_off:
            self._count_interruption(joined=False)

    def _count_interruption(self, joined: bool) -> None:
        """Count what has interrupted the bot, unless the user went on with a question."""
        if self._pause_interrupted:
            self._metrics.pauses.labels("joined" if joined else "interrupted").inc()
        if self._interruption_seconds is not None and not joined:
            self._metrics.barge_in_stop_seconds.observe(self._interruption_seconds)
        self._pause_interrupted, self._interruption_seconds = False, None

    def phrase_skipped(self) -> None:
        """Note that a phrase of the reply could not be spoken."""
        self._turns.phrase_skipped()

    def turn_dropped(self, outcome: str) -> None:
        """Note that the turn has ended without a reply, with one of metrics.TURN_OUTCOMES."""
        self._reporter.report(self._turns.turn_dropped(outcome))

    def engine_failed(self, engine: str) -> Callable[[EngineFailed], None]:
        """Return a hook for failed requests to `engine`."""

        def count(problem: EngineFailed) -> None:
            self._metrics.engine_failures.labels(engine, problem.reason).inc()
            log.warning("engine failed", engine=engine, reason=problem.reason)

        return count
