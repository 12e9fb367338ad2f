"""Log lines: parse, filter and format them. No I/O.

A line that is not JSON does not come from the journal, but from podman or a crashing library, for
example. It is shown unchanged, unless the lines are filtered by unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.console.terminal import Paint, printable
from appliance.journal_fields import LEVELS
from appliance.processes import BOOT, GUARD, NAMES

UNITS = NAMES
SUPERVISORS = (BOOT, GUARD)  # their lines may be about another unit
FORMATS = ("short", "json", "cat")
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
_HEADER_FIELDS = ("time", "level", "process", "event")  # shown first, without their names


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log; `fields` is None if the line does not come from the journal."""

    text: str
    fields: Mapping[str, Any] | None

    @property
    def time(self) -> datetime | None:
        """Time when the line was written; None if the line has no valid time."""
        return _parse_time(str(self.fields.get("time", ""))) if self.fields is not None else None


def parse_line(text: str) -> LogLine:
    """Parse one line of the log."""
    text = text.rstrip("\r\n")
    try:
        fields = json.loads(text)
    except ValueError:
        return LogLine(text, None)
    return LogLine(text, fields if isinstance(fields, dict) and "event" in fields else None)


def is_about(line: LogLine, unit: str) -> bool:
    """Whether `unit` wrote the line, or boot or the guard wrote it about `unit`."""
    if line.fields is None:
        return False
    process = line.fields.get("process")
    return process == unit or (process in SUPERVISORS and line.fields.get("program") == unit)


def format_line(line: LogLine, output: str, paint: Paint) -> str:
    """Format a line in one of FORMATS; times are UTC."""
    if output == "json" and line.fields is not None:
        # JSON may contain characters that control a terminal, as they are or between its parts.
        safe = line.text.isascii() and line.text.isprintable()
        return line.text if safe else json.dumps(line.fields)
    if line.fields is None:
        return printable(line.text)
    level = _level(line.fields)
    colour = _COLOURS.get(level, "")
    event = paint(printable(str(line.fields["event"])), "bold", colour)
    if level in ("warning", "error", "critical"):
        event = f"{paint(level + ':', colour)} {event}"
    fields = [
        paint(f"{printable(str(name))}=", "dim") + _format_value(value)
        for name, value in line.fields.items()
        if name not in _HEADER_FIELDS
    ]
    message = " ".join([event, *fields])
    if output == "cat":
        return message
    time = line.time
    when = f"{time:%b %d %H:%M:%S}.{time.microsecond // 1000:03}" if time else " " * 19
    process = printable(str(line.fields.get("process", "")))
    return f"{paint(when, 'dim')} {paint(f'{process:<9}', 'cyan')} {message}"


def _level(fields: Mapping[str, Any]) -> str:
    level = str(fields.get("level", "info"))
    return level if level in LEVELS else "info"


def _format_value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_format_value(part) for part in value)
    text = printable(str(value).lower() if isinstance(value, bool) else str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text


def _parse_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
