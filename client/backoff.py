"""Reconnection delays: exponential backoff with jitter, and the server's Retry-After."""

from __future__ import annotations

from collections.abc import Callable

FIRST_SECONDS = 0.5
MAX_SECONDS = 15.0


def delay_seconds(
    attempt: int, retry_after_seconds: float | None, jitter: Callable[[], float]
) -> float:
    """Return the delay after failed attempt number `attempt`, counted from 0.

    Half of the delay is fixed and half random (`jitter` returns 0..1), so that many clients of a
    restarting appliance do not reconnect at the same time. The server's `retry_after_seconds` is a
    minimum, extended by up to a fifth for the same reason.
    """
    full = min(MAX_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 10))
    delay = full * (0.5 + jitter() / 2)
    if retry_after_seconds is None:
        return delay
    return max(delay, retry_after_seconds * (1 + jitter() / 5))
