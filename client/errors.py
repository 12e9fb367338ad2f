"""What can go wrong for the user, and the exit code of each.

    ClientError
     +-- UsageError       2   a flag, file, setting or sound device is not usable
     +-- Refused          3   the appliance answered and turned the call away
     +-- CannotConnect    4   nothing that speaks this protocol could be reached
     +-- BrokeOff         5   the call was set up and then ended before its time
     +-- NoAnswer         6   the bot had nothing to say

The text of an error is for the user: what happened, then what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """Something went wrong; `str()` of it is the message for the user."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        """Whether trying again later may help without anyone changing anything."""
        self.retry_after_seconds = retry_after_seconds
        """How long the server asks to wait first."""


class UsageError(ClientError):
    exit_code = 2


class Refused(ClientError):
    exit_code = 3


class CannotConnect(ClientError):
    exit_code = 4


class BrokeOff(ClientError):
    exit_code = 5


class NoAnswer(ClientError):
    exit_code = 6
