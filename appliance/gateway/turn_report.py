"""What is told of a completed turn: to the metrics, the log, and the caller's screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.turn_record import TurnRecord, Turns
from appliance.link.engine import Result
from appliance.metrics import GatewayMeters

log = journal.get()


class TurnReport:
    """Reports the turns of one session; `send` takes the message for the caller."""

    def __init__(
        self,
        meters: GatewayMeters,
        transcripts: bool,
        send: Callable[[dict[str, object]], None],
    ) -> None:
        self._meters = meters
        self._transcripts = transcripts
        self._send = send

    def tell(self, record: TurnRecord | None) -> None:
        """Reports a completed turn; nothing for None."""
        if record is None:
            return
        stages = record.stages()
        self._observe(record, stages)
        log.info("turn", **log_line(record, stages), total_seconds=_age(record))
        if record.number:
            self._send(message(record, stages, self._transcripts))

    def tell_heard(self, record: TurnRecord | None) -> None:
        """Reports what the client said only after its turn was complete; nothing for None."""
        if record is None or record.heard_seconds is None:
            return
        self._observe_heard(record)
        log.info("turn heard", turn=record.number, heard_seconds=round(record.heard_seconds, 4))

    def _observe(self, record: TurnRecord, stages: Mapping[str, float]) -> None:
        meters = self._meters
        meters.turns.labels(record.outcome).inc()
        if record.ended_by:
            meters.turn_ends.labels(record.ended_by).inc()
        if record.kind == "spoken" and record.response_seconds is not None:
            meters.turn_response_latency_seconds.observe(record.response_seconds)
            for name, seconds in stages.items():
                meters.stage_latency_seconds.labels(name).observe(seconds)
        self._observe_heard(record)

    def _observe_heard(self, record: TurnRecord) -> None:
        if record.kind == "spoken" and record.heard_seconds is not None:
            self._meters.turn_heard_latency_seconds.observe(record.heard_seconds)


def _age(record: TurnRecord) -> float | None:
    """Seconds since the user fell silent: with the time of the line, where the turn stands."""
    begun = record.marks.get("speech_ended", record.marks.get("asked"))
    return None if begun is None else round(time.monotonic() - begun, 3)


def log_line(record: TurnRecord, stages: Mapping[str, float]) -> dict[str, object]:
    """The one log line of a turn: numbers and fixed words, nothing that was said."""
    line: dict[str, object] = {
        "turn": record.number,
        "outcome": record.outcome,
        "by": record.ended_by or record.kind,
        "interrupted": record.interrupted,
        "speech_seconds": round(record.speech_seconds, 3),
        "prompt_tokens": record.stats.get("prompt_tokens", 0),
        "cached_tokens": record.stats.get("cached_tokens", 0),
        "reply_tokens": record.stats.get("decode_tokens", 0),
    }
    if record.response_seconds is not None:
        line["response_seconds"] = round(record.response_seconds, 4)
    if record.heard_seconds is not None:
        line["heard_seconds"] = round(record.heard_seconds, 4)
    return line | {f"{name}_seconds": round(seconds, 4) for name, seconds in stages.items()}


def message(
    record: TurnRecord, stages: Mapping[str, float], transcripts: bool
) -> dict[str, object]:
    """The RTVI server message about a turn; the caller's own words only with `transcripts`."""
    shown: dict[str, object] = {
        "kind": "turn",
        "turn": record.number,
        "outcome": record.outcome,
        "interrupted": record.interrupted,
        "ended_by": record.ended_by,
        "response_seconds": record.response_seconds,
        "stages": {name: round(seconds, 4) for name, seconds in stages.items()},
    }
    if transcripts:
        shown |= {"user_text": record.user_text, "reply_text": record.reply_text}
    return shown


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
