"""Messages for the user on stderr; stdout is for results."""

from __future__ import annotations

import sys

from client.errors import ClientError


def print_error(text: str) -> None:
    """Print one line about a problem."""
    print(f"voice-client: {text}", file=sys.stderr, flush=True)


def print_retry(error: ClientError, delay_seconds: float) -> None:
    """Print why a connection failed and when the client tries again."""
    print_error(retry_message(error, delay_seconds))


def retry_message(error: ClientError, delay_seconds: float) -> str:
    """Describe why a connection failed and when the client tries again."""
    text = str(error)
    stop = "" if text.endswith((".", "?", "!")) else "."
    return f"{text}{stop} Trying again in {delay_seconds:.1f} s."
