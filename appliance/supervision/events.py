"""The listener's side of supervisord's event protocol. No I/O.

The listener writes READY. supervisord sends a header line of `key:value` tokens, in which `len` is
the number of payload bytes that follow. The listener replies with a result and writes READY again.
Any other output on the listener's stdout makes supervisord stop sending events. See "Event Listener
Notification Protocol" in supervisor's manual.
"""

from __future__ import annotations

from dataclasses import dataclass, field

READY = b"READY\n"
DONE = b"RESULT 2\nOK"
MAX_BUFFER_BYTES = 65536  # limit for an incomplete event; a complete one has about 200


class BadEvent(ValueError):
    """The input violates the protocol. The listener exits, and supervisord restarts it."""


@dataclass(frozen=True, slots=True)
class SupervisorEvent:
    """An event: its name, such as TICK_5, and the fields of its payload."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The new state of a program; empty for other kinds of events."""
        prefix = "PROCESS_STATE_"
        return self.name.removeprefix(prefix) if self.name.startswith(prefix) else ""


class EventParser:
    """Splits a byte stream into events."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[SupervisorEvent]:
        """Add bytes and return the events that are now complete. Raises BadEvent."""
        self._buffer += data
        events: list[SupervisorEvent] = []
        while (event := self._next()) is not None:
            events.append(event)
        if len(self._buffer) > MAX_BUFFER_BYTES:
            raise BadEvent("an event without an end")
        return events

    def _next(self) -> SupervisorEvent | None:
        head, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        header = _tokens(head)
        try:
            name, size = header["eventname"], int(header["len"])
        except (KeyError, ValueError) as error:
            raise BadEvent("a header without a name or length") from error
        if len(rest) < size:
            return None
        self._buffer = rest[size:]
        return SupervisorEvent(name, _tokens(rest[:size]))


def _tokens(line: bytes) -> dict[str, str]:
    words = (word.partition(":") for word in line.decode("utf-8", "replace").split())
    return {key: value for key, _, value in words}
