"""Lines of the log: read, chosen and shown; pure.

A line that is no JSON is not ours (podman's own, or a library's last words); it passes as it is,
unless lines of one unit or one call were asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.console.paint import Paint, printable
from appliance.errors import BadSetting
from appliance.journal import LEVELS

UNITS = ("gateway", "ultravox", "kokoro", "exporter", "boot", "guard")
OVERSEERS = ("boot", "guard")  # they tell of other units
OUTPUTS = ("short", "json", "cat")
_AGE = re.compile(r"(\d+)\s*(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
_FIRST = ("time", "level", "process", "event")  # shown before the fields, without their names


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what stood there, and its fields when it is one of ours."""

    text: str
    fields: Mapping[str, Any] | None

    @property
    def at(self) -> datetime | None:
        """When it was written; None where it does not say."""
        return _time(str(self.fields.get("time", ""))) if self.fields is not None else None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which lines are wanted; what is empty does not choose."""

    unit: str = ""
    session: str = ""
    level: str = "debug"
    since: datetime | None = None


def read(text: str) -> Line:
    """A line of the log."""
    text = text.rstrip("\r\n")
    try:
        fields = json.loads(text)
    except ValueError:
        return Line(text, None)
    return Line(text, fields if isinstance(fields, dict) and "event" in fields else None)


def since(text: str, now: datetime) -> datetime | None:
    """The time that `10m`, `2h`, `1d` ago or an ISO time (UTC unless it says) names.

    None for an empty text. Raises BadSetting.
    """
    if not text:
        return None
    age = _AGE.fullmatch(text)
    if age:
        return now - timedelta(seconds=int(age[1]) * _SECONDS[age[2]])
    at = _time(text)
    if at is None:
        raise BadSetting(name="--since", why=f"{text!r} is neither 10m, 2h, 1d nor a time")
    return at


def wanted(line: Line, choice: Choice) -> bool:
    """Whether the line was asked for."""
    if line.fields is None:
        return not (choice.unit or choice.session)
    fields = line.fields
    if choice.session and str(fields.get("session", "")) != choice.session:
        return False
    if choice.unit and not _about(fields, choice.unit):
        return False
    if LEVELS.index(_level(fields)) < LEVELS.index(choice.level):
        return False
    at = line.at
    return choice.since is None or at is None or at >= choice.since


def shown(line: Line, output: str, paint: Paint) -> str:
    """The line in one of OUTPUTS. Times are UTC."""
    if output == "json" and line.fields is not None:
        return line.text
    if line.fields is None:
        return printable(line.text)
    colour = _COLOURS.get(_level(line.fields), "")
    event = paint(printable(str(line.fields["event"])), "bold", colour)
    level = _level(line.fields)
    if level in ("warning", "error", "critical"):
        event = f"{paint(level + ':', colour)} {event}"
    rest = [
        paint(f"{printable(str(name))}=", "dim") + _value(value)
        for name, value in line.fields.items()
        if name not in _FIRST
    ]
    told = " ".join([event, *rest])
    if output == "cat":
        return told
    at = line.at
    when = f"{at:%b %d %H:%M:%S}.{at.microsecond // 1000:03}" if at else " " * 19
    process = printable(str(line.fields.get("process", "")))
    return f"{paint(when, 'dim')} {paint(f'{process:<9}', 'cyan')} {told}"


def _about(fields: Mapping[str, Any], unit: str) -> bool:
    process = fields.get("process")
    return process == unit or (process in OVERSEERS and fields.get("program") == unit)


def _level(fields: Mapping[str, Any]) -> str:
    level = str(fields.get("level", "info"))
    return level if level in LEVELS else "info"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_value(part) for part in value)
    text = printable(str(value).lower() if isinstance(value, bool) else str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
