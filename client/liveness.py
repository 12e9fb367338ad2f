"""Whether the other side of a call is still there. No I/O, no clock.

A host that loses its power or its network closes no connection: TCP notices after many minutes.
So the client pings whenever nothing has arrived for a moment. A host that sends nothing at all
after a ping is lost.

    arrived   ████████████████  ×
    ping                         p        p        p
    lost                                  ◀─ PATIENCE_SECONDS ─▶ lost
"""

from __future__ import annotations

from enum import Enum

QUIET_SECONDS = 0.5  # without anything that arrived, after which a ping is sent
# After a ping. With QUIET_SECONDS, a lost host is noticed after 3.8 s at the latest, and a stall of
# the network of 3 s is survived.
PATIENCE_SECONDS = 3.3
TICK_SECONDS = 0.1  # between two calls of `tick`
MAX_TICK_SECONDS = 0.5  # more time between two calls is a stall of this program, and not counted


class Pulse(Enum):
    """What to do."""

    WAIT = "wait"
    PING = "ping"
    LOST = "lost"


class Liveness:
    """Decides when to ping, and when the other side is lost. Times are in seconds of any clock.

    patience_seconds  how long nothing may arrive after a ping
    """

    def __init__(self, now: float, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._ticked_at = now
        self._quiet_seconds = 0.0
        self._unanswered_seconds: float | None = None  # since a ping; None: there is none

    def heard(self) -> None:
        """Note that something has arrived: a frame, a pong, or a part of one."""
        self._quiet_seconds, self._unanswered_seconds = 0.0, None

    def tick(self, now: float) -> Pulse:
        """Return what to do. Call it every `TICK_SECONDS`.

        If this program stands still, what has arrived meanwhile is only read afterwards. So a
        longer time between two calls does not count against the other side.
        """
        passed = min(max(0.0, now - self._ticked_at), MAX_TICK_SECONDS)
        self._ticked_at = now
        self._quiet_seconds += passed
        if self._unanswered_seconds is not None:
            self._unanswered_seconds += passed
            return Pulse.LOST if self._unanswered_seconds >= self._patience_seconds else Pulse.WAIT
        if self._quiet_seconds < QUIET_SECONDS:
            return Pulse.WAIT
        self._unanswered_seconds = 0.0
        return Pulse.PING
