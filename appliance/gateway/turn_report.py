"""Publishes completed turns: as metrics, log lines and messages to the client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from appliance import journal
from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.turn_record import TurnRecord

log = journal.get()


class TurnReporter:
    """Publishes completed turns of one session. `send` sends a server message to the client."""

    def __init__(
        self,
        metrics: GatewayMetrics,
        transcripts: bool,
        send: Callable[[dict[str, object]], None],
    ) -> None:
        self._metrics = metrics
        self._transcripts = transcripts
        self._send = send

    def report(self, turn: TurnRecord | None) -> None:
        """Publish a completed turn. Does nothing for None."""
        if turn is None:
            return
        stages = turn.stages()
        self._observe(turn, stages)
        log.info("turn", **turn_log_fields(turn, stages), total_seconds=_seconds_since_speech(turn))
        if turn.number:
            self._send(turn_message(turn, stages, self._transcripts))

    def report_heard(self, turn: TurnRecord | None) -> None:
        """Publish a playback report that came after the turn itself. Does nothing for None."""
        if turn is None or turn.heard_seconds is None:
            return
        self._observe_heard(turn)
        log.info("turn heard", turn=turn.number, heard_seconds=round(turn.heard_seconds, 4))

    def _observe(self, turn: TurnRecord, stages: Mapping[str, float]) -> None:
        metrics = self._metrics
        metrics.turns.labels(turn.outcome).inc()
        if turn.ended_by:
            metrics.turn_ends.labels(turn.ended_by).inc()
        if turn.kind == "spoken" and turn.response_seconds is not None:
            metrics.turn_response_latency_seconds.observe(turn.response_seconds)
            for name, seconds in stages.items():
                metrics.stage_latency_seconds.labels(name).observe(seconds)
        self._observe_heard(turn)

    def _observe_heard(self, turn: TurnRecord) -> None:
        if turn.kind == "spoken" and turn.heard_seconds is not None:
            self._metrics.turn_heard_latency_seconds.observe(turn.heard_seconds)


def _seconds_since_speech(turn: TurnRecord) -> float | None:
    """Return the age of the turn; `voicectl trace` derives its start from it."""
    started_at = turn.marks.get("speech_stopped", turn.marks.get("submitted"))
    return None if started_at is None else round(time.monotonic() - started_at, 3)


def turn_log_fields(turn: TurnRecord, stages: Mapping[str, float]) -> dict[str, object]:
    """Return the fields of a turn's log line: numbers and fixed words only."""
    fields: dict[str, object] = {
        "turn": turn.number,
        "outcome": turn.outcome,
        "by": turn.ended_by or turn.kind,
        "interrupted": turn.interrupted,
        "pauses": turn.pauses,
        "speech_seconds": round(turn.speech_seconds, 3),
        "prompt_tokens": turn.stats.get("prompt_tokens", 0),
        "cached_tokens": turn.stats.get("cached_tokens", 0),
        "reply_tokens": turn.stats.get("decode_tokens", 0),
    }
    if turn.response_seconds is not None:
        fields["response_seconds"] = round(turn.response_seconds, 4)
    if turn.speculation_seconds is not None:
        fields["speculation_seconds"] = round(turn.speculation_seconds, 4)
    if turn.heard_seconds is not None:
        fields["heard_seconds"] = round(turn.heard_seconds, 4)
    return fields | {f"{name}_seconds": round(seconds, 4) for name, seconds in stages.items()}


def turn_message(
    turn: TurnRecord, stages: Mapping[str, float], transcripts: bool
) -> dict[str, object]:
    """Return the data of a turn's RTVI server message. It has texts only if `transcripts`."""
    data: dict[str, object] = {
        "kind": "turn",
        "turn": turn.number,
        "outcome": turn.outcome,
        "interrupted": turn.interrupted,
        "ended_by": turn.ended_by,
        "response_seconds": turn.response_seconds,
        "stages": {name: round(seconds, 4) for name, seconds in stages.items()},
    }
    if turn.replaces is not None:
        data["replaces"] = turn.replaces
    if transcripts:
        # The next turn has the words of a joined one: no client shows them twice.
        user_text = "" if turn.outcome == "joined" else turn.user_text
        data |= {"user_text": user_text, "reply_text": turn.reply_text}
    return data
