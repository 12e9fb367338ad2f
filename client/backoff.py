"""When to try again: exponential back-off with jitter, and what the server asks for."""

from __future__ import annotations

from collections.abc import Callable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 15.0


def delay_seconds(attempt: int, asked_seconds: float | None, chance: Callable[[], float]) -> float:
    """How long to wait after failed attempt number `attempt`, counted from 0.

    Half of the delay is fixed and half random (`chance` gives 0..1), so that many clients of an
    appliance that restarts do not come back at the same moment. `asked_seconds` is the server's
    Retry-After, which is kept and stretched by up to a fifth for the same reason.
    """
    grown = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 10))
    own = grown * (0.5 + chance() / 2)
    if asked_seconds is None:
        return own
    return max(own, asked_seconds * (1 + chance() / 5))
