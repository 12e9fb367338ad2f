"""The calls that a log tells of, put together from its lines; pure.

A log may begin in the middle of a call and end before it does. Only numbers and fixed words are
taken: what was said is in no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.console.logs import Line
from appliance.metrics import STAGES


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
