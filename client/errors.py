"""The client's error catalogue, with the exit code of each error.

    ClientError
     +-- UsageError       2   a flag, file, setting or sound device cannot be used
     +-- CallRefused      3   the appliance answered and refused the call
     +-- CannotConnect    4   no appliance could be reached
     +-- CallDropped      5   the call was connected and ended unexpectedly
     |    +-- BotHungUp      0   the bot said goodbye and ended the call
     +-- NoAnswer         6   the bot did not answer

The text of an error is for the user: what happened, then what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """Base class; `str()` of an error is the message for the user."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        """Whether another attempt may succeed without any change by the user."""
        self.retry_after_seconds = retry_after_seconds
        """How long the server asks the client to wait before the next attempt."""


class UsageError(ClientError):
    exit_code = 2


class CallRefused(ClientError):
    exit_code = 3


class CannotConnect(ClientError):
    exit_code = 4


class CallDropped(ClientError):
    exit_code = 5


class BotHungUp(CallDropped):
    exit_code = 0


class NoAnswer(ClientError):
    exit_code = 6
