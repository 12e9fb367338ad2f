"""What is told of a completed turn: to the metrics, the log, and the caller's screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from appliance import journal
from appliance.gateway.turn_record import TurnRecord
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
