"""Which of several hosts is called next. No I/O, no clock.

Hosts are called in the order of their list. One that is full, draining or not reachable is called
again after a delay, which grows; meanwhile the next one is. One that refuses for good, such as a
wrong certificate, is not called again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from client.backoff import delay_seconds
from client.errors import ClientError


class Hosts:
    """The hosts of one attempt to begin a call, by their place in the list.

    `jitter` returns a random number from 0 to 1. Times are in seconds of any clock.
    """

    def __init__(self, count: int, jitter: Callable[[], float]) -> None:
        self._ready_at = [-math.inf] * count  # infinite: it has refused for good
        self._failures = [0] * count
        self._jitter = jitter

    def next(self, now: float) -> int:
        """Return the first host that may be called at `now`, or else the one that may be soonest.

        A host has to be left: see `wait_seconds`.
        """
        return min(range(len(self._ready_at)), key=lambda place: max(now, self._ready_at[place]))

    def failed(self, place: int, error: ClientError, now: float) -> None:
        """Note that a host could not be called."""
        if not error.retryable:
            self._ready_at[place] = math.inf
            return
        delay = delay_seconds(self._failures[place], error.retry_after_seconds, self._jitter)
        self._ready_at[place] = now + delay
        self._failures[place] += 1

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait before the next call; infinite if no host is left."""
        return max(0.0, min(self._ready_at) - now)
