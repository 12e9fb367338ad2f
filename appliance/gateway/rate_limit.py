"""A token bucket. No I/O and no clock: the time is an argument."""

from __future__ import annotations


class TokenBucket:
    """Allows `rate` tokens per second on average and `burst` tokens at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated_at: float | None = None

    def take(self, tokens: float, now: float) -> bool:
        """Take `tokens` and return True, or return False if the bucket has too few.

        `now` is the time of a monotonic clock, in seconds.
        """
        if self._updated_at is not None:
            refill = (now - self._updated_at) * self._rate
            self._tokens = min(self._burst, self._tokens + refill)
        self._updated_at = now
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True
