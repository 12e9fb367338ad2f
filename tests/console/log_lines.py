"""Log lines of two calls, as the gateway writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.console.logs import LogLine, parse_line

BEGAN = datetime(2026, 11, 22, 9, 55, tzinfo=UTC)
STAGE_FIELDS = {
    "end_of_turn_seconds": 0.30,
    "hearing_seconds": 0.05,
    "first_token_seconds": 0.29,
    "first_phrase_seconds": 0.40,
    "synthesis_seconds": 0.94,
    "transport_seconds": 0.004,
}


def event(after: float, name: str, session: str = "3f2a9c1b7d04", **fields: object) -> str:
    """One line, `after` seconds after BEGAN."""
    time = (BEGAN + timedelta(seconds=after)).isoformat().replace("+00:00", "Z")
    header = {"time": time, "level": "info", "process": "gateway", "event": name}
    return json.dumps({**header, "session": session, **fields})


def turn(after: float, number: int, **changes: Any) -> str:
    """The line of an answered turn, with some fields changed."""
    fields: dict[str, Any] = {
        "turn": number,
        "outcome": "answered",
        "by": "smart_turn",
        "interrupted": False,
        "speech_seconds": 1.4,
        "reply_tokens": 9,
        "response_seconds": 1.984,
        "total_seconds": 3.6,
        **STAGE_FIELDS,
    }
    return event(after, "turn", **{**fields, **changes})


TEXTS: Sequence[str] = (
    event(0.0, "session started"),
    turn(7.3, 1),
    event(7.4, "turn heard", turn=1, heard_seconds=2.07),
    event(11.0, "engine failed", level="warning", engine="tts", reason="engine_gone"),
    turn(
        16.1,
        2,
        outcome="interrupted",
        interrupted=True,
        by="fallback",
        response_seconds=3.6,
        total_seconds=4.1,
        end_of_turn_seconds=1.52,
        synthesis_seconds=1.34,
    ),
    event(17.0, "session started", session="99aa"),
    event(20.0, "tool called", outcome="done"),
    "podman: something of its own",
    event(26.8, "session ended", reason="hung_up", duration_seconds=26.81),
)
LINES: Sequence[LogLine] = [parse_line(text) for text in TEXTS]
