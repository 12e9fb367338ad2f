"""supervisord's event protocol, the listener's side, without I/O.

The listener writes READY; supervisord sends a header line of `key:value` tokens, whose `len` says
how many bytes of payload follow; the listener answers with a result, and is READY for the next.
Anything else on the listener's stdout makes supervisord stop talking to it. See "Event Listener
Notification Protocol" in supervisor's manual.
"""

from __future__ import annotations

from dataclasses import dataclass, field

READY = b"READY\n"
DONE = b"RESULT 2\nOK"
MAX_BYTES = 65536  # of a header and payload that wait to be whole; real ones have some 200


class BadEvent(ValueError):
    """What came is not the protocol. The listener ends, and supervisord starts it afresh."""


@dataclass(frozen=True, slots=True)
class Event:
    """`name` as TICK_5, and what its payload says."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The state a program has come to; empty for an event of another kind."""
        prefix = "PROCESS_STATE_"
        return self.name.removeprefix(prefix) if self.name.startswith(prefix) else ""


class Reader:
    """Cuts what supervisord writes into events."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, received: bytes) -> list[Event]:
        """The events that are whole now. Raises BadEvent."""
        self._waiting += received
        found: list[Event] = []
        while (event := self._next()) is not None:
            found.append(event)
        if len(self._waiting) > MAX_BYTES:
            raise BadEvent("an event without an end")
        return found

    def _next(self) -> Event | None:
        head, newline, rest = self._waiting.partition(b"\n")
        if not newline:
            return None
        header = _tokens(head)
        try:
            name, size = header["eventname"], int(header["len"])
        except (KeyError, ValueError) as problem:
            raise BadEvent("a header without a name or length") from problem
        if len(rest) < size:
            return None
        self._waiting = rest[size:]
        return Event(name, _tokens(rest[:size]))


def _tokens(line: bytes) -> dict[str, str]:
    words = (word.partition(":") for word in line.decode("utf-8", "replace").split())
    return {key: value for key, _, value in words}
