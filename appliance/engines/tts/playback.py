"""How much synthesized audio each session still has to play. No I/O: times are passed in."""

from __future__ import annotations

from typing import Final

# With less audio left, the next part of a reply is as urgent as the first part of another one. A
# part takes about 0.2 s on two cores, and up to twice as long while a reply is decoded.
LATE_SECONDS: Final = 0.5


class PlaybackLeads:
    """Estimates the playback of all sessions.

    A reply is assumed to be played from the moment its first audio is there. The gateway plays it
    later, so that no reply is later than estimated.
    """

    def __init__(self) -> None:
        self._ends: dict[int, float] = {}  # when the audio of a session will have been played

    def add(self, session: int, seconds: float, now: float, is_first: bool = False) -> None:
        """Note `seconds` of new audio. `is_first`: it begins a reply, so older audio is dropped."""
        end = now if is_first else max(now, self._ends.get(session, now))
        self._ends[session] = end + seconds

    def is_late(self, session: int, now: float) -> bool:
        """Return whether the audio of a session that plays a reply is about to run out."""
        end = self._ends.get(session)
        return end is not None and end - now < LATE_SECONDS

    def remove(self, session: int) -> None:
        """Forget a session that has ended."""
        self._ends.pop(session, None)
