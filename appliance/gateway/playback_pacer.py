"""When the next chunk of the bot's audio is due, and how much of it is not played yet. No I/O."""

from __future__ import annotations

# Once the lead is sent, audio follows in bursts of this length. The second chunk of a burst finds
# its code in the processor's caches. Longer bursts leave less of the lead before each of them.
BURST_SECONDS = 0.08
TIMER_SECONDS = 0.001  # the resolution of the event loop's timers


class PlaybackPacer:
    """The playback of one client. Times are in seconds of a monotonic clock.

    lead_seconds  audio is sent at most this long before its playback
    """

    def __init__(self, lead_seconds: float) -> None:
        self._lead_seconds = lead_seconds
        self._plays_until = 0.0

    def wait_after(self, chunk_seconds: float, now: float) -> float:
        """Return the seconds to wait before the next chunk, after one was sent at `now`."""
        self._plays_until = max(self._plays_until, now) + chunk_seconds
        wait_seconds = self._plays_until - self._lead_seconds - now
        if wait_seconds < TIMER_SECONDS:
            return 0.0
        rest_of_burst = max(0.0, BURST_SECONDS - chunk_seconds)
        return wait_seconds + min(rest_of_burst, self._lead_seconds)

    def unplayed_seconds(self, now: float) -> float:
        """Return how much of the audio sent the client has not played yet."""
        return max(0.0, self._plays_until - now)

    def plays_at(self, now: float) -> float:
        """Return when a chunk that is sent at `now` is played."""
        return max(self._plays_until, now)

    def flush(self) -> None:
        """Note that the client has discarded the audio that it had not yet played."""
        self._plays_until = 0.0
