"""Lines of the log: read, chosen and shown; pure.

A line that is no JSON is not ours (podman's own, or a library's last words); it passes as it is,
unless lines of one unit were asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.console.terminal import Paint, printable
from appliance.journal import LEVELS
from appliance.processes import BOOT, GUARD, NAMES

UNITS = NAMES
OVERSEERS = (BOOT, GUARD)  # they tell of other units
OUTPUTS = ("short", "json", "cat")
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


def read(text: str) -> Line:
    """A line of the log."""
    text = text.rstrip("\r\n")
    try:
        fields = json.loads(text)
    except ValueError:
        return Line(text, None)
    return Line(text, fields if isinstance(fields, dict) and "event" in fields else None)


def about(line: Line, unit: str) -> bool:
    """Whether the line is one of UNITS' own, or is told of it by boot or guard."""
    if line.fields is None:
        return False
    process = line.fields.get("process")
    return process == unit or (process in OVERSEERS and line.fields.get("program") == unit)


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
