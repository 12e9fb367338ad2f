"""The lines of the audit log and the hash chain that connects them. No I/O.

A line is one JSON object, at most MAX_LINE_BYTES long, in this order of fields:

    {"time":"...","level":"info","process":"gateway","event":"audit","number":17,
     "action":"call_ended", ..., "previous":"<hash of line 16>","hash":"<hash of this line>"}

The hash of a line is the SHA-256 of its bytes up to `,"hash":`, so it covers `number` and
`previous`. The first line of a chain has number 1 and `previous` NO_HASH. The head of a chain is
its last line.

The first four fields are those of the log, because the same bytes are also written to the log.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

EVENT = "audit"
NO_HASH = "0" * 64
MAX_LINE_BYTES = 2048  # below the limit of a line of the log (appliance/journal.py)
HASH = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}')

# The actions, which tests compare with docs/audit-log.md.
STARTED, STOPPING, STOPPED = "started", "stopping", "stopped"
DRAIN_BEGUN, DRAIN_UNDONE = "drain_begun", "drain_undone"
CLOSED, OPENED = "closed", "opened"
CALL_STARTED, CALL_ENDED, REFUSED = "call_started", "call_ended", "refused"
TOKEN_CREATED, TOKEN_REVOKED, TOKEN_EXPIRED = "token_created", "token_revoked", "token_expired"
EXPIRED_TOKEN_USED = "expired_token_used"
CERTIFICATE_LOADED = "certificate_loaded"
ACTIONS = (
    STARTED,
    CALL_STARTED,
    CALL_ENDED,
    REFUSED,
    DRAIN_BEGUN,
    DRAIN_UNDONE,
    CLOSED,
    OPENED,
    TOKEN_CREATED,
    TOKEN_REVOKED,
    TOKEN_EXPIRED,
    EXPIRED_TOKEN_USED,
    CERTIFICATE_LOADED,
    STOPPING,
    STOPPED,
)

Value = str | int | float | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An intact line: `hash` is the hash of its bytes."""

    number: int
    action: str
    previous: str
    hash: str

    @property
    def begins_chain(self) -> bool:
        """Whether this is the first line of a chain."""
        return self.number == 1 and self.previous == NO_HASH


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a chain: its number and its hash. Head() begins an empty chain."""

    number: int = 0
    hash: str = NO_HASH


class Chain:
    """Appends lines to a chain. There must be only one writer."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def append(self, time: str, action: str, fields: Mapping[str, Value]) -> bytes:
        """Return the next line, without a newline.

        `time` is in UTC, in the format of ISO 8601. Raises ValueError if the line is too long.
        """
        number = self.head.number + 1
        content = {
            "time": time,
            "level": "info",
            "process": "gateway",
            "event": EVENT,
            "number": number,
            "action": action,
            **fields,
            "previous": self.head.hash,
        }
        text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
        own_hash = hashlib.sha256(text[:-1]).hexdigest()
        line = text[:-1] + f',"hash":"{own_hash}"}}'.encode("ascii")
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"an audit line of {len(line)} bytes")
        self.head = Head(number, own_hash)
        return line


def parse(line: bytes) -> AuditLine | None:
    """Return an intact line of an audit log, given without its newline, otherwise None."""
    match = _LINE.fullmatch(line)
    if match is None or len(line) > MAX_LINE_BYTES:
        return None
    own_hash = match[2].decode("ascii")
    if hashlib.sha256(match[1]).hexdigest() != own_hash:
        return None
    fields = _json_object(line)
    number, previous = fields.get("number"), fields.get("previous")
    if fields.get("event") != EVENT or type(number) is not int or not isinstance(previous, str):
        return None
    return AuditLine(number, str(fields.get("action", "")), previous, own_hash)


def has_a_hash(line: bytes) -> bool:
    """Whether a line ends with a hash, as a whole line does, whether or not it is the right one."""
    return _LINE.fullmatch(line) is not None


def claims_to_be_audit(line: bytes) -> bool:
    """Whether a line looks like one of an audit log, intact or not."""
    return b'"event":"audit"' in line or _json_object(line).get("event") == EVENT


def find_head(content: bytes) -> Head | None:
    """Return the last intact line in the content of a file; None if there is none."""
    for text in reversed(content.split(b"\n")):
        if line := parse(text):
            return Head(line.number, line.hash)
    return None


def _json_object(text: bytes) -> Mapping[str, object]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
