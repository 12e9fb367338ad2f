"""When a reply begins to play.

The engines make one reply faster than it is spoken. On a small machine, they make several at the
same time slower than that, and a reply that played from its first audio on would pause within a
sentence. So while the engines also work for other sessions, or soon will, the first audio is held
back for a moment. A short reply is complete before that, and is not held back any longer.
"""

from __future__ import annotations

import asyncio
import contextlib

from appliance.gateway.session_set import SessionSet


class ReplyStart:
    """Holds back the first audio of each reply of one session.

    delay_seconds  longest time for which it is held back
    busy           sessions that the engines work for, of the whole process: their user speaks, or
                   a reply is being made. This session is added and removed here
    """

    def __init__(self, delay_seconds: float, busy: SessionSet) -> None:
        self._delay_seconds = delay_seconds
        self._busy = busy
        self._complete = asyncio.Event()

    def work_began(self) -> None:
        """Note that the engines work for this session: its user speaks, or a reply is requested."""
        self._complete.clear()
        self._busy.add(self)

    def audio_complete(self) -> None:
        """Note that all audio of the reply has arrived."""
        self._complete.set()
        self._busy.remove(self)

    def work_dropped(self) -> None:
        """Note that there will be no reply. An interruption cancels `wait`; this does not."""
        self._busy.remove(self)

    async def wait(self) -> None:
        """Return when the first audio of the reply may be sent."""
        if not self._delay_seconds or not self._busy.others(self):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay_seconds):
                await self._complete.wait()
