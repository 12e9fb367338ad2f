"""The bot hangs up, when the model has called `end_call`: after its goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

GOODBYE_SECONDS = 60.0  # longer than the longest reply takes to play


class GracefulHangUp:
    """Ends the session after the bot has said goodbye.

    close    end the session when all queued audio has been played
    cut_off  end the session at once; called if a step takes longer than GOODBYE_SECONDS
    """

    def __init__(self, close: Callable[[], None], cut_off: Callable[[], None]) -> None:
        self._close = close
        self._cut_off = cut_off
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def begin(self, speaking: bool) -> None:
        """Begin to hang up: after the goodbye if the bot is `speaking`, otherwise at once."""
        if speaking:
            self._set_timer(self._start_closing)
        else:
            self._start_closing()

    def heard(self, interrupted: bool) -> None:
        """Note that the bot has finished speaking. An interruption cancels the hang-up."""
        if self._timer is None or self._closing:
            return
        self.cancel()
        if not interrupted:
            self._start_closing()

    def cancel(self) -> None:
        """Stop the timer, because the session has ended or continues."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_closing(self) -> None:
        self._closing = True
        self._set_timer(self._cut_off)
        self._close()

    def _set_timer(self, callback: Callable[[], None]) -> None:
        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(GOODBYE_SECONDS, callback)
