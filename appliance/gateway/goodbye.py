"""When a call ends that the model has ended: once its goodbye was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_SECONDS = 60.0  # more than the longest answer takes to be spoken


class Goodbye:
    """`hang_up` ends the call behind all that is still to be played, `cut_off` at once."""

    def __init__(self, hang_up: Callable[[], None], cut_off: Callable[[], None]) -> None:
        self._hang_up = hang_up
        self._cut_off = cut_off
        self._timer: asyncio.TimerHandle | None = None
        self._said = False

    def begins(self, speaking: bool) -> None:
        """The call is to end; `speaking` if there is a goodbye to wait for."""
        if speaking:
            self._set(self._ends)
        else:
            self._ends()

    def heard(self, interrupted: bool) -> None:
        """What the bot had to say was heard. A caller who interrupts a goodbye has more to say."""
        if self._timer is None or self._said:
            return
        self.close()
        if not interrupted:
            self._ends()

    def close(self) -> None:
        """The call is over, or goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ends(self) -> None:
        self._said = True
        self._set(self._cut_off)
        self._hang_up()

    def _set(self, then: Callable[[], None]) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, then)
