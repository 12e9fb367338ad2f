"""A token bucket. No I/O and no clock: the time is an argument."""

from __future__ import annotations

ROUNDING_SECONDS = 1e-7  # more than a sum of many short durations is wrong by


class TokenBucket:
    """Allows `rate` tokens per second on average and `burst` tokens at once. Both are positive.

    Only the time at which the bucket is full again is kept: a token takes 1 / `rate` seconds to
    refill (the virtual scheduling of GCRA, ITU-T I.371 annex A).
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._refill_seconds = burst / rate + ROUNDING_SECONDS  # of an empty bucket
        self._full_at = 0.0

    def take(self, tokens: float, now: float) -> bool:
        """Take `tokens` and return True, or return False if the bucket has too few.

        `now` is the time of a monotonic clock, in seconds; not negative.
        """
        begin = self._full_at if self._full_at > now else now
        full_at = begin + tokens / self._rate
        if full_at - now > self._refill_seconds:
            return False
        self._full_at = full_at
        return True
