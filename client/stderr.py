"""Messages for the user on stderr; stdout is for results."""

from __future__ import annotations

import sys

from client.errors import ClientError


def print_error(text: str) -> None:
    """Print one line about a problem."""
    print(f"voice: {text}", file=sys.stderr, flush=True)


def print_retry(error: ClientError, delay_seconds: float) -> None:
    """Print why a connection failed and when the client tries again."""
    print_error(retry_message(error, delay_seconds))


def retry_message(error: ClientError, delay_seconds: float) -> str:
    """Describe why a connection failed, and when the client tries again or calls another host."""
    text = str(error)
    stop = "" if text.endswith((".", "?", "!")) else "."
    then = f"Trying again in {delay_seconds:.1f} s." if delay_seconds else "Calling another host."
    return f"{text}{stop} {then}"
