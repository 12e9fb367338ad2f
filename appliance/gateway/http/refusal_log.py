"""Which refusals are logged one by one, and which are only counted. No I/O."""

from __future__ import annotations

LOGGED_PER_INTERVAL = 5  # of each reason
INTERVAL_SECONDS = 60.0


class RefusalLog:
    """Bounds the log lines about refusals: a client can be refused hundreds of times a second.

    All times are in monotonic seconds.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._began_at = 0.0

    def note(self, reason: str, now: float) -> bool:
        """Note a refusal. Return whether it is logged."""
        if not self._counts:
            self._began_at = now
        self._counts[reason] = self._counts.get(reason, 0) + 1
        return self._counts[reason] <= LOGGED_PER_INTERVAL

    def summary(self, now: float) -> dict[str, int]:
        """Return the refusals of the last interval that were not logged, by reason.

        It is empty until the interval is over, and after that until the next one is.
        """
        if not self._counts or now - self._began_at < INTERVAL_SECONDS:
            return {}
        counts, self._counts = self._counts, {}
        return {
            reason: count - LOGGED_PER_INTERVAL
            for reason, count in counts.items()
            if count > LOGGED_PER_INTERVAL
        }
