"""Lines for the user on stderr; stdout belongs to results."""

from __future__ import annotations

import sys

from client.errors import ClientError


def complain(text: str) -> None:
    """One line about a problem."""
    print(f"voice-client: {text}", file=sys.stderr, flush=True)


def announce_retry(problem: ClientError, delay_seconds: float) -> None:
    """What went wrong and when it is tried again."""
    complain(f"{problem} Trying again in {delay_seconds:.1f} s.")
