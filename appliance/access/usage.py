"""The seconds for which each token has called on the present day (UTC). No I/O."""

from __future__ import annotations

from collections import defaultdict

DAY_SECONDS = 86_400


class DailyUse:
    """Seconds of calls by token, in the current day of UTC. A restart begins at 0."""

    def __init__(self) -> None:
        self._day = -1
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, token_id: str, seconds: float, unix_time: float) -> None:
        """Count `seconds` of a call. `unix_time` is in seconds since 1970."""
        self._begin_day(unix_time)
        self._seconds[token_id] += seconds

    def seconds(self, token_id: str, unix_time: float) -> float:
        """Return how long the token has called today."""
        self._begin_day(unix_time)
        return self._seconds.get(token_id, 0.0)

    def all(self, unix_time: float) -> dict[str, float]:
        """Return the same for each token that has called today."""
        self._begin_day(unix_time)
        return dict(self._seconds)

    def _begin_day(self, unix_time: float) -> None:
        day = int(unix_time // DAY_SECONDS)
        if day != self._day:
            self._day = day
            self._seconds.clear()
