"""Redact log lines for a support bundle: keep only listed fields and fixed words. No I/O.

The journal already writes listed fields only (journal_fields.py). A bundle leaves the site, so the
rules here are stricter: no free text, and no value that might be a word of a caller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from appliance.console.logs import parse_line
from appliance.errors import catalogue
from appliance.journal_fields import CATALOGUE_FIELDS, LEVELS, NUMBER_FIELDS, TEXT_FIELDS
from appliance.processes import ENGINES
from appliance.supervision.policy import Cause

# Every event that the appliance logs; a test compares this list with the sources.
EVENTS = frozenset(
    {
        "a phrase failed",
        "a phrase is pronounced word by word",
        "access tokens read",
        "appliance started",
        "appliance stopped",
        "audit",
        "audit folder failed",
        "audit folder unusable",
        "audit folder works again",
        "calls are not encrypted",
        "certificate has a problem",
        "new certificate loaded",
        "new certificate refused",
        "opened",
        "card reported an error",
        "closed",
        "connections are not confined",
        "crashed",
        "drain begun",
        "drain undone",
        "draining",
        "engine failed",
        "engine planned",
        "engine ready",
        "engine stopped",
        "espeak-ng failed",
        "espeak-ng is not installed and unknown words are spelled out",
        "exporter listens",
        "first of several cards is used",
        "gateway started",
        "gateway stopped",
        "guard ends appliance",
        "guard restarts engines",
        "guard restarts process",
        "guard silent",
        "guard started",
        "kernel has no landlock",
        "language model ready",
        "library",
        "model loaded",
        "model output does not match the baseline",
        "no connection accepted",
        "pipeline error",
        "process killed",
        "program ended",
        "program gave up",
        "program killed",
        "program restarted",
        "program running",
        "program started",
        "readiness changed",
        "refused",
        "refused more",
        "request crashed",
        "request failed",
        "seal intact",
        "code intact",
        "session ended",
        "session started",
        "short token",
        "source left out",
        "stop asked for",
        "stopped by an error",
        "supervisord sends no events",
        "system calls are not filtered",
        "task failed",
        "there is no access token yet",
        "token file unreadable",
        "token readable by all users",
        "token store readable by all users",
        "token store unreadable",
        "tool called",
        "tools not in the prompt yet",
        "transcription failed",
        "turn",
        "turn crashed",
        "turn heard",
        "unnamed",
        "voice unusable",
        "prefill failed",
    }
)
# Fields with a fixed set of values, and these values. Tests compare them with the gateway's.
WORDS: Mapping[str, frozenset[str]] = {
    "engine": frozenset(ENGINES),
    "by": frozenset({"smart_turn", "pace", "words", "fallback", "timeout"}),
    "outcome": frozenset(
        {
            *("answered", "interrupted", "joined", "nothing_heard"),  # of a turn
            *("too_short", "failed"),  # of a turn without a reply
            *("done", "failed", "too_slow", "malformed"),  # of a tool call
        }
    ),
    "reason": frozenset({"left", *get_args(Cause), *catalogue()}),
    "level": frozenset(LEVELS),
}
# An identifier, path, number or stack frame: one word of ASCII.
_WORD = re.compile(r"[A-Za-z0-9_.:/@+=<>,-]{1,200}", re.ASCII)
_PROCESSES = re.compile(r"[a-z]+(?: and [a-z]+)*", re.ASCII)  # the form of waiting_for


def redact(lines: Iterable[str]) -> Iterator[str]:
    """Yield the redacted lines.

    Lines that are not from the journal are left out; a last line reports their number.
    """
    foreign = 0
    for text in lines:
        line = parse_line(text)
        if line.fields is None:
            foreign += bool(line.text.strip())
        else:
            yield json.dumps(_redact_fields(line.fields), separators=(",", ":"))
    if foreign:
        yield json.dumps({"event": "lines left out", "count": foreign}, separators=(",", ":"))


def _redact_fields(fields: Mapping[str, Any]) -> dict[str, object]:
    kept: dict[str, object] = {}
    dropped = 0
    for name, value in fields.items():
        if _is_allowed(name, value):
            kept[name] = _only_words(value) if isinstance(value, list) else value
        else:
            dropped += name not in CATALOGUE_FIELDS
    kept.setdefault("event", "unnamed")
    error = catalogue().get(str(kept.get("reason", "")))
    if error is not None and "advice" in fields:
        kept["advice"] = error.advice
    if dropped:
        before = kept.get("dropped_fields", 0)
        kept["dropped_fields"] = dropped + (before if isinstance(before, int) else 0)
    return kept


def _is_allowed(name: str, value: object) -> bool:
    if name == "event":
        return isinstance(value, str) and value in EVENTS
    if name not in NUMBER_FIELDS | TEXT_FIELDS:
        return False
    if isinstance(value, (int, float)):
        return True
    if name not in TEXT_FIELDS:
        return False
    if isinstance(value, list):
        return name not in WORDS
    if not isinstance(value, str):
        return False
    if name in WORDS:
        return not value or value in WORDS[name]
    if name == "waiting_for" and _PROCESSES.fullmatch(value):
        return True
    return not value or _WORD.fullmatch(value) is not None


def _only_words(values: list[object]) -> list[str]:
    return [value for value in values if isinstance(value, str) and _WORD.fullmatch(value)]
