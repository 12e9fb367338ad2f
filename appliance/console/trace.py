"""The calls that a log tells of, put together from its lines; pure.

A log may begin in the middle of a call and end before it does. Only numbers and fixed words are
taken: what was said is in no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.console.logs import Line
from appliance.console.terminal import Paint, clock, cut, duration, stamp
from appliance.journal_fields import STAGES


@dataclass(slots=True)
class Turn:
    """One turn; seconds. `ended_at` is since the call began, `total` since the user fell silent."""

    number: int
    outcome: str
    by: str
    interrupted: bool
    ended_at: float
    speech: float
    total: float | None
    response: float | None
    heard: float | None
    stages: Mapping[str, float]
    tokens: int = 0

    @property
    def silent_at(self) -> float | None:
        """When the user fell silent, since the call began; None where the log does not tell."""
        return None if self.total is None else self.ended_at - self.total


@dataclass(slots=True)
class Event:
    """Something else that happened in the call."""

    at: float
    what: str
    level: str = "info"


@dataclass(slots=True)
class Call:
    """A call. `began` is the first thing known of it; `whole` when that is its beginning.

    ended      what ended it, as voice_sessions_total counts it; empty while it goes on
    seconds    how long it lasted, or until the last thing known of it
    """

    session: str
    began: datetime
    whole: bool
    ended: str = ""
    seconds: float = 0.0
    turns: list[Turn] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def calls(lines: Iterable[Line]) -> list[Call]:
    """All calls, in the order in which they appear."""
    found: dict[str, Call] = {}
    for line in lines:
        at = line.at
        if line.fields is None or at is None or not line.fields.get("session"):
            continue
        session, event = str(line.fields["session"]), str(line.fields["event"])
        call = found.setdefault(session, Call(session, at, whole=event == "session started"))
        call.seconds = max(call.seconds, (at - call.began).total_seconds())
        _add(call, event, line.fields, (at - call.began).total_seconds())
    return list(found.values())


def _add(call: Call, event: str, fields: Mapping[str, Any], at: float) -> None:
    if event == "turn":
        call.turns.append(_turn(fields, at))
    elif event == "turn heard":  # the client's word came after the turn's own line
        for turn in call.turns:
            if turn.number == fields.get("turn"):
                turn.heard = _number(fields, "heard_seconds")
    elif event == "session ended":
        call.ended = str(fields.get("reason", ""))
        call.seconds = _number(fields, "duration_seconds") or at
    elif event != "session started":
        told = [str(fields[name]) for name in ("engine", "reason", "outcome") if name in fields]
        level = str(fields.get("level", "info"))
        call.events.append(Event(at, f"{event}: {' '.join(told)}" if told else event, level))


def _turn(fields: Mapping[str, Any], at: float) -> Turn:
    given = {name: _number(fields, f"{name}_seconds") for name in STAGES}
    return Turn(
        number=int(_number(fields, "turn") or 0),
        outcome=str(fields.get("outcome", "")),
        by=str(fields.get("by", "")),
        interrupted=bool(fields.get("interrupted")),
        ended_at=at,
        speech=_number(fields, "speech_seconds") or 0.0,
        total=_number(fields, "total_seconds"),
        response=_number(fields, "response_seconds"),
        heard=_number(fields, "heard_seconds"),
        stages={name: seconds for name, seconds in given.items() if seconds is not None},
        tokens=int(_number(fields, "reply_tokens") or 0),
    )


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    return float(value) if isinstance(value, (int, float)) else None


BAR = 47  # columns of the longest answer
LABELS = {
    "end_of_turn": ("end of turn", "blue"),
    "hearing": ("hearing", "cyan"),
    "first_token": ("first token", "green"),
    "first_phrase": ("first phrase", "yellow"),
    "synthesis": ("synthesis", "magenta"),
    "transport": ("transport", "red"),
}
OUTCOMES = {"answered": "green", "interrupted": "yellow", "failed": "red"}
LIST = "{:<13}{:<21}{:>9}{:>6}{:>7}{:>9}  {}"


def listed(found: Sequence[Call], paint: Paint) -> str:
    """A line for each call."""
    if not found:
        return "no call in this log"
    head = LIST.format("SESSION", "BEGAN", "LASTED", "TURNS", "FAILED", "SLOWEST", "ENDED")
    lines = [paint(head, "dim"), *(_summary(call, paint) for call in found)]
    if not all(call.whole for call in found):
        lines += ["", "* it began before this log"]
    return "\n".join(lines)


def timeline(call: Call, paint: Paint) -> str:
    """Every turn with its stages as bars to one scale, and what happened between them."""
    longest = max((sum(turn.stages.values()) for turn in call.turns), default=0.0)
    things: list[tuple[float, Iterator[str]]] = [
        (_placed(turn), _turn_line(turn, longest, paint)) for turn in call.turns
    ]
    things += [(event.at, _event(event, paint)) for event in call.events]
    lines = list(_head(call, paint))
    for _, drawn in sorted(things, key=lambda thing: thing[0]):
        lines += drawn
    lines += ["", *_end(call, paint)]
    return "\n".join(lines)


def _summary(call: Call, paint: Paint) -> str:
    answers = [turn.response for turn in call.turns if turn.response is not None]
    failed = sum(turn.outcome == "failed" for turn in call.turns)
    return LIST.format(
        cut(call.session, 12),
        f"{call.began:%Y-%m-%d %H:%M:%S}" + ("" if call.whole else "*"),
        duration(call.seconds),
        len(call.turns),
        failed,
        f"{max(answers):.2f} s" if answers else "-",
        paint(call.ended or "goes on", "" if call.ended else "green"),
    )


def _head(call: Call, paint: Paint) -> Iterator[str]:
    lasted = f"{call.seconds:.1f} s, {len(call.turns)} turns"
    yield f"{paint('call ' + cut(call.session, 16), 'bold')}  {stamp(call.began.timestamp())}"
    yield lasted + ("" if call.whole else "; its beginning is not in this log")


def _turn_line(turn: Turn, longest: float, paint: Paint) -> Iterator[str]:
    yield ""
    number = f"turn {turn.number}" if turn.number else "no turn"
    told = [paint(turn.outcome.replace("_", " "), OUTCOMES.get(turn.outcome, ""))]
    if turn.interrupted and turn.outcome != "interrupted":
        told.append(paint("interrupted", "yellow"))
    if turn.response is not None:
        told.append(f"voice to voice {_ms(turn.response)}")
    if turn.heard is not None:
        told.append(f"heard {_ms(turn.heard)}")
    yield f"{clock(_placed(turn)):>8}  {paint(number, 'bold')}  {', '.join(told)}"
    if turn.speech:
        end = f", its end found by {turn.by.replace('_', '-')}" if turn.by else ""
        yield paint(f"{'':10}the user spoke {turn.speech:.1f} s{end}", "dim")
    offset = 0.0
    for name, seconds in turn.stages.items():
        label, colour = LABELS[name]
        bar = _bar(offset, seconds, longest)
        yield f"{'':10}{label:<13}{_ms(seconds):>8}  {paint(bar.rstrip(), colour)}"
        offset += seconds


def _bar(offset: float, seconds: float, longest: float) -> str:
    """From where the stage began to where it ended; a hair where it was too short to see."""
    scale = (BAR - 1) / longest if longest > 0 else 0.0
    begin, end = round(offset * scale), round((offset + seconds) * scale)
    return " " * begin + ("█" * (end - begin) or "▏")


def _event(event: Event, paint: Paint) -> Iterator[str]:
    colour = {"warning": "yellow", "error": "red", "critical": "red"}.get(event.level, "")
    yield ""
    yield f"{clock(event.at):>8}  {paint(cut(event.what, 68), colour)}"


def _end(call: Call, paint: Paint) -> Iterator[str]:
    if not call.ended:
        yield paint("the call goes on, or its end is not in this log", "dim")
        return
    why = "the caller left" if call.ended == "left" else f"we ended it: {call.ended}"
    yield f"{clock(call.seconds):>8}  {paint('end', 'bold')}  {why}"


def _placed(turn: Turn) -> float:
    """Where a turn stands in the call: when the user fell silent, or else when it was over."""
    return turn.ended_at if turn.silent_at is None else max(0.0, turn.silent_at)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
