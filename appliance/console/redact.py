"""What of a log line may leave the house in a support bundle; pure.

The journal has let nothing of a caller through. Here its list is applied once more, and more
strictly, since a bundle is read elsewhere: what is no line of ours is dropped, and so is every
field that is not listed, has the wrong type, or is free text. What an error of the catalogue
says is put in again from the catalogue itself. Names of events, outcomes and reasons have to be
words of our own source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from appliance.console.logs import read
from appliance.errors import catalogue
from appliance.journal import LEVELS
from appliance.journal_fields import CATALOGUE_FIELDS, NUMBER_FIELDS, TEXT_FIELDS

# An identifier, a path, a number, a frame of a stack: one word, in ASCII.
_WORD = re.compile(r"[A-Za-z0-9_.:/@+=<>,-]{1,200}", re.ASCII)
_OURS = frozenset({"outcome", "by", "reason", "engine"})  # words of our source
_READY = re.compile(r"[a-z]+(?: and [a-z]+)*", re.ASCII)  # of waiting_for


Known = Callable[[str], bool]


def in_source(source: str) -> Known:
    """Whether a text stands between quotes in our source, in one piece or in two.

    In two as in `"program " + change.kind.replace("_", " ")`.
    """

    def quoted(text: str) -> bool:
        return f'"{text}"' in source

    @lru_cache(maxsize=4096)  # a log says the same few words again and again; the source is long
    def known(text: str) -> bool:
        if not text or not text.isascii() or '"' in text:
            return False
        spaces = [at for at, character in enumerate(text, 1) if character == " "]
        return quoted(text) or any(
            quoted(text[:at]) and quoted(text[at:].replace(" ", "_")) for at in spaces
        )

    return known


def redacted(texts: Iterable[str], known: Known) -> Iterator[str]:
    """The lines as they may leave; `known` says which words are our own."""
    foreign = 0
    for text in texts:
        line = read(text)
        if line.fields is None:
            foreign += bool(line.text.strip())
        else:
            yield json.dumps(_fields(line.fields, known), separators=(",", ":"))
    if foreign:
        yield json.dumps({"event": "lines left out", "count": foreign}, separators=(",", ":"))


def _fields(fields: Mapping[str, Any], known: Known) -> dict[str, object]:
    kept: dict[str, object] = {}
    dropped = 0
    for name, value in fields.items():
        allowed = _allowed(name, value, known)
        if allowed is None:
            dropped += name not in CATALOGUE_FIELDS
        else:
            kept[name] = allowed
    kept.setdefault("event", "unnamed")
    error = catalogue().get(str(kept.get("reason", "")))
    if error is not None and "advice" in fields:
        kept["advice"] = error.advice
    if dropped:
        before = kept.get("dropped_fields", 0)
        kept["dropped_fields"] = dropped + (before if isinstance(before, int) else 0)
    return kept


def _allowed(name: str, value: object, known: Known) -> object:
    """The value if it may leave, or None."""
    if value == "" and name in TEXT_FIELDS:
        return value
    if name == "event" or (name in _OURS and isinstance(value, str)):
        return value if isinstance(value, str) and known(value) else None
    if name == "level":
        return value if value in LEVELS else None
    if name == "waiting_for" and isinstance(value, str) and _READY.fullmatch(value):
        return value
    if name in NUMBER_FIELDS | TEXT_FIELDS and isinstance(value, (int, float)):
        return value
    if name in TEXT_FIELDS and isinstance(value, str) and _WORD.fullmatch(value):
        return value
    if name in TEXT_FIELDS and isinstance(value, list):
        return [part for part in value if isinstance(part, str) and _WORD.fullmatch(part)]
    return None
