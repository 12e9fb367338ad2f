"""Reconstruct calls from log lines and draw them as timelines. No I/O.

The log may start in the middle of a call and stop before the call ends. Log lines hold numbers and
fixed words, never speech.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.console.logs import LogLine
from appliance.console.terminal import Paint, format_duration, format_offset, format_time, truncate
from appliance.journal_fields import STAGES


@dataclass(slots=True)
class TracedTurn:
    """One turn of a call. All numbers are seconds, except `number` and `tokens`.

    number        0 for speech that was too short to be answered
    detected_by   what detected the end of the turn: smart_turn, pace, words, fallback or timeout
    ended_at      seconds from the start of the call until the turn was complete
    speech        how long the user spoke
    total         from the end of the user's speech until the turn was complete
    response      from the end of the user's speech to the first audio of the answer
    playback      from the end of the user's speech until the client played the first audio; None
                  if the client did not report it
    stages        the parts of `response`, in order
    """

    number: int
    outcome: str
    detected_by: str
    interrupted: bool
    ended_at: float
    speech: float
    total: float | None
    response: float | None
    playback: float | None
    stages: Mapping[str, float]
    tokens: int = 0

    @property
    def speech_ended_at(self) -> float | None:
        """Seconds from the call's start to the end of the user's speech; None if not in the log."""
        return None if self.total is None else self.ended_at - self.total

    @property
    def position(self) -> float:
        """Position in the timeline: the end of the user's speech or, if unknown, the turn's."""
        return self.ended_at if self.speech_ended_at is None else max(0.0, self.speech_ended_at)


@dataclass(slots=True)
class TracedEvent:
    """An event of a call other than a turn, `offset` seconds after the call's start."""

    offset: float
    text: str
    level: str = "info"


@dataclass(slots=True)
class TracedCall:
    """One call, as far as the log shows it.

    started     start of the call, or time of its first line if the start is not in the log
    has_start   whether the start of the call is in the log
    end_reason  `outcome` label of voice_sessions_total; empty while in progress
    seconds     duration of the call, or the time until its last line
    """

    session: str
    started: datetime
    has_start: bool
    end_reason: str = ""
    seconds: float = 0.0
    turns: list[TracedTurn] = field(default_factory=list)
    events: list[TracedEvent] = field(default_factory=list)


def collect_calls(lines: Iterable[LogLine]) -> list[TracedCall]:
    """Reconstruct all calls, in the order of their first lines."""
    calls: dict[str, TracedCall] = {}
    for line in lines:
        time = line.time
        if line.fields is None or time is None or not line.fields.get("session"):
            continue
        session, event = str(line.fields["session"]), str(line.fields["event"])
        call = calls.setdefault(session, TracedCall(session, time, event == "session started"))
        offset = (time - call.started).total_seconds()
        call.seconds = max(call.seconds, offset)
        _add_line(call, event, line.fields, offset)
    return list(calls.values())


def _add_line(call: TracedCall, event: str, fields: Mapping[str, Any], offset: float) -> None:
    if event == "turn":
        call.turns.append(_parse_turn(fields, offset))
    elif event == "turn heard":  # the client reported it after the turn's own line was written
        for turn in call.turns:
            if turn.number == fields.get("turn"):
                turn.playback = _number(fields, "heard_seconds")
    elif event == "session ended":
        call.end_reason = str(fields.get("reason", ""))
        call.seconds = _number(fields, "duration_seconds") or offset
    elif event != "session started":
        details = [str(fields[name]) for name in ("engine", "reason", "outcome") if name in fields]
        text = f"{event}: {' '.join(details)}" if details else event
        call.events.append(TracedEvent(offset, text, str(fields.get("level", "info"))))


def _parse_turn(fields: Mapping[str, Any], offset: float) -> TracedTurn:
    stages = {name: _number(fields, f"{name}_seconds") for name in STAGES}
    return TracedTurn(
        number=int(_number(fields, "turn") or 0),
        outcome=str(fields.get("outcome", "")),
        detected_by=str(fields.get("by", "")),
        interrupted=bool(fields.get("interrupted")),
        ended_at=offset,
        speech=_number(fields, "speech_seconds") or 0.0,
        total=_number(fields, "total_seconds"),
        response=_number(fields, "response_seconds"),
        playback=_number(fields, "heard_seconds"),
        stages={name: seconds for name, seconds in stages.items() if seconds is not None},
        tokens=int(_number(fields, "reply_tokens") or 0),
    )


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    return float(value) if isinstance(value, (int, float)) else None


BAR_WIDTH = 47  # columns of the longest response
STAGE_LABELS = {
    "end_of_turn": ("end of turn", "blue"),
    "hearing": ("hearing", "cyan"),
    "first_token": ("first token", "green"),
    "first_phrase": ("first phrase", "yellow"),
    "synthesis": ("synthesis", "magenta"),
    "transport": ("transport", "red"),
}
_OUTCOME_COLOURS = {"answered": "green", "interrupted": "yellow", "failed": "red"}
_LIST_ROW = "{:<13}{:<21}{:>9}{:>6}{:>7}{:>9}  {}"


def render_list(calls: Sequence[TracedCall], paint: Paint) -> str:
    """Render one line per call."""
    if not calls:
        return "no call in this log"
    head = _LIST_ROW.format("SESSION", "STARTED", "DURATION", "TURNS", "FAILED", "SLOWEST", "ENDED")
    lines = [paint(head, "dim"), *(_render_row(call, paint) for call in calls)]
    if not all(call.has_start for call in calls):
        lines += ["", "* started before this log"]
    return "\n".join(lines)


def _render_row(call: TracedCall, paint: Paint) -> str:
    responses = [turn.response for turn in call.turns if turn.response is not None]
    failed = sum(turn.outcome == "failed" for turn in call.turns)
    return _LIST_ROW.format(
        truncate(call.session, 12),
        f"{call.started:%Y-%m-%d %H:%M:%S}" + ("" if call.has_start else "*"),
        format_duration(call.seconds),
        len(call.turns),
        failed,
        f"{max(responses):.2f} s" if responses else "-",
        paint(call.end_reason or "in progress", "" if call.end_reason else "green"),
    )


def render_timeline(call: TracedCall, paint: Paint) -> str:
    """Draw the turns, with their stages as bars on a common scale, and the events between them."""
    longest = max((sum(turn.stages.values()) for turn in call.turns), default=0.0)
    blocks: list[tuple[float, Iterator[str]]] = [
        (turn.position, _render_turn(turn, longest, paint)) for turn in call.turns
    ]
    blocks += [(event.offset, _render_event(event, paint)) for event in call.events]
    lines = list(_render_head(call, paint))
    for _, block in sorted(blocks, key=lambda placed: placed[0]):
        lines += block
    lines += ["", _render_end(call, paint)]
    return "\n".join(lines)


def _render_head(call: TracedCall, paint: Paint) -> Iterator[str]:
    title = paint("call " + truncate(call.session, 16), "bold")
    yield f"{title}  {format_time(call.started.timestamp())}"
    summary = f"{call.seconds:.1f} s, {len(call.turns)} turn{'' if len(call.turns) == 1 else 's'}"
    yield summary + ("" if call.has_start else "; its start is not in this log")


def _render_turn(turn: TracedTurn, longest: float, paint: Paint) -> Iterator[str]:
    yield ""
    title = f"turn {turn.number}" if turn.number else "ignored speech"
    facts = [paint(turn.outcome.replace("_", " "), _OUTCOME_COLOURS.get(turn.outcome, ""))]
    if turn.interrupted and turn.outcome != "interrupted":
        facts.append(paint("interrupted", "yellow"))
    if turn.response is not None:
        facts.append(f"voice to voice {_format_ms(turn.response)}")
    if turn.playback is not None:
        facts.append(f"played after {_format_ms(turn.playback)}")
    yield f"{format_offset(turn.position):>8}  {paint(title, 'bold')}  {', '.join(facts)}"
    if turn.speech:
        detector = turn.detected_by.replace("_", "-")
        end = f"; end of turn detected by {detector}" if detector else ""
        yield paint(f"{'':10}the user spoke for {turn.speech:.1f} s{end}", "dim")
    offset = 0.0
    for name, seconds in turn.stages.items():
        label, colour = STAGE_LABELS[name]
        bar = _draw_bar(offset, seconds, longest)
        yield f"{'':10}{label:<13}{_format_ms(seconds):>8}  {paint(bar, colour)}"
        offset += seconds


def _draw_bar(offset: float, seconds: float, longest: float) -> str:
    """Draw one stage on the scale of the longest response; a very short stage is a hairline."""
    scale = (BAR_WIDTH - 1) / longest if longest > 0 else 0.0
    start, end = round(offset * scale), round((offset + seconds) * scale)
    return " " * start + ("█" * (end - start) or "▏")


def _render_event(event: TracedEvent, paint: Paint) -> Iterator[str]:
    colour = {"warning": "yellow", "error": "red", "critical": "red"}.get(event.level, "")
    yield ""
    yield f"{format_offset(event.offset):>8}  {paint(truncate(event.text, 68), colour)}"


def _render_end(call: TracedCall, paint: Paint) -> str:
    if not call.end_reason:
        return paint("the call is in progress, or its end is not in this log", "dim")
    why = (
        "the caller left"
        if call.end_reason == "left"
        else f"ended by the appliance: {call.end_reason}"
    )
    return f"{format_offset(call.seconds):>8}  {paint('end', 'bold')}  {why}"


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
