"""Renders a finished turn as a JSON object, or as lines for a terminal. No I/O."""

from __future__ import annotations

import json

from client.record import ClientTurnRecord


def as_json(record: ClientTurnRecord, source: str, reply_wav: str | None) -> str:
    """Render one line of JSON. Seconds are rounded to milliseconds; absent values are null.

    `voice_to_voice_seconds` is measured at the client's buffer, as in `client.record`.
    """
    latency = record.voice_to_voice_seconds
    return json.dumps(
        {
            "turn": record.number,
            "file": source,
            "user_text": record.user_text,
            "reply_text": record.reply_text,
            "reply_wav": reply_wav,
            "reply_seconds": round(record.heard.seconds, 3),
            "voice_to_voice_seconds": None if latency is None else round(latency, 3),
            "stages": {name: round(seconds, 3) for name, seconds in record.stages.items()},
            "interrupted": record.interrupted,
            "outcome": record.outcome,
            "underruns": record.heard.underruns,
            "longest_gap_seconds": round(record.heard.longest_gap_seconds, 3),
        }
    )


def as_text(record: ClientTurnRecord, source: str, reply_wav: str | None) -> str:
    """Render a few lines for a terminal."""
    latency = record.voice_to_voice_seconds
    timing = (
        "no reply was heard"
        if latency is None
        else f"voice to voice {latency:.2f} s at the client's buffer"
    )
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in record.stages.items())
    lines = [
        f"{record.number}  {source}",
        f"   you  {plain(record.user_text) or '(no transcript)'}",
        f"   bot  {plain(record.reply_text) or '(no transcript)'}"
        + ("  [interrupted]" if record.interrupted else ""),
        f"        {timing}" + (f"  ({stages})" if stages else ""),
    ]
    if record.outcome not in ("answered", "interrupted"):
        lines.append(f"        outcome: {plain(record.outcome)}")
    if record.heard.underruns:
        gaps = "gap" if record.heard.underruns == 1 else "gaps"
        lines.append(
            f"        {record.heard.underruns} {gaps} in the audio,"
            f" the longest {record.heard.longest_gap_seconds * 1000:.0f} ms"
        )
    if reply_wav:
        lines.append(f"        {reply_wav}")
    return "\n".join(lines)


def plain(text: str) -> str:
    """Put the text on one line and remove control characters.

    Otherwise a server could control the user's terminal.
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
