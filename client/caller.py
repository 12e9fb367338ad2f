"""Opens the calls of a command: the first one, and another one when it is lost."""

from __future__ import annotations

import asyncio
import random

from client.backoff import delay_seconds
from client.call import ClientCall, connect
from client.config import Config
from client.errors import CallDropped
from client.stderr import print_error, print_retry

MAX_LOST_CALLS = 3  # in a row, without a turn that was answered


class Caller:
    """Calls the hosts of the settings. After a lost call, the host after its one comes first."""

    def __init__(self, config: Config, retry_seconds: float) -> None:
        self._config = config
        self._retry_seconds = retry_seconds
        self._lost_calls = 0
        self._progress = 0

    async def call(self) -> ClientCall:
        """Open a call. Raises ClientError."""
        return await connect(self._config, retry_seconds=self._retry_seconds, on_retry=print_retry)

    async def prepare_again(
        self, lost: ClientCall, failure: CallDropped, progress: int = 0
    ) -> None:
        """Prepare another call after a lost one, and say so. Raises the failure if it is final.

        `progress`: how many turns were answered in all calls.
        """
        self._lost_calls = self._lost_calls + 1 if progress == self._progress else 1
        self._progress = progress
        if not failure.retryable or self._lost_calls >= MAX_LOST_CALLS:
            raise failure
        print_error(f"{failure}. Asking again in a new call, which will not remember this call.")
        self._config = self._config.after(lost.url)
        if self._config.url == lost.url:  # the only host
            await asyncio.sleep(delay_seconds(self._lost_calls - 1, None, random.random))
