"""When the synthesized audio of each session will have been played. No I/O: times are passed in."""

from __future__ import annotations


class PlaybackLeads:
    """Estimates the playback of all sessions.

    A reply is assumed to be played from the moment its first audio is there. In fact the gateway
    plays it later, so no audio is needed earlier than estimated.
    """

    def __init__(self) -> None:
        self._ends: dict[int, float] = {}  # when the audio of a session will have been played

    def add(self, session: int, seconds: float, now: float, is_first: bool = False) -> None:
        """Note `seconds` of new audio. `is_first`: it begins a reply, so older audio is dropped."""
        end = now if is_first else max(now, self._ends.get(session, now))
        self._ends[session] = end + seconds

    def ends_at(self, session: int) -> float:
        """Return when the audio of a session will have been played; -inf if it has none."""
        return self._ends.get(session, float("-inf"))

    def remove(self, session: int) -> None:
        """Forget a session that has ended."""
        self._ends.pop(session, None)
