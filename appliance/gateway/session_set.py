"""A set of sessions of the process that have something in common. No I/O."""

from __future__ import annotations


class SessionSet:
    """Sessions by any object that stands for them. What they have in common is up to its owner."""

    def __init__(self) -> None:
        self._sessions: set[object] = set()

    def add(self, session: object) -> None:
        """Add a session. Does nothing if it is in the set."""
        self._sessions.add(session)

    def remove(self, session: object) -> None:
        """Remove a session. Does nothing if it is not in the set."""
        self._sessions.discard(session)

    def others(self, session: object) -> bool:
        """Return whether the set has a session other than this one."""
        return bool(self._sessions - {session})
