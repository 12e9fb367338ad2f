"""What is done for a conversation while nobody waits for it.

The engine hears the caller while they speak, gets ready for what comes next, and writes down what
was said. Once that is there and the answer was heard, the history is brought within its budget:
at that moment it costs nobody a wait that the engine reads the shortened conversation anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.history import History
from appliance.gateway.utterances import Listening
from appliance.link.client import RECONNECT_SECONDS, EngineClient
from appliance.link.engine import Tool, Turn, Utterance

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
log = journal.get()


class Upkeep:
    """The background work of one session. `spawn` begins a task, `stop` cancels one."""

    def __init__(
        self,
        client: EngineClient,
        history: History,
        tools: Callable[[], tuple[Tool, ...]],
        spawn: Spawn,
        stop: Callable[[asyncio.Task[None]], Awaitable[None]],
    ) -> None:
        self._client = client
        self._history = history
        self._tools = tools
        self._spawn = spawn
        self._stop = stop
        self._tasks: set[asyncio.Task[None]] = set()
        self._grown = asyncio.Event()
        self._feeding = False
        self._transcribing = 0
        self.busy = False  # a turn is under way, and with it the history as the engine knows it
        self._spent: list[Utterance] = []  # what the engine has heard and may forget

    async def close(self) -> None:
        """Stops everything."""
        for task in list(self._tasks):
            await self._stop(task)
        self._tasks.clear()

    def grown(self, listening: Listening) -> None:
        """There is more of the utterance that is being listened to."""
        if not self._feeding:
            self._feeding = True
            self._begin(self._feed(listening))
        self._grown.set()

    def warm(self, more: Sequence[Turn] = ()) -> None:
        """Lets the engine read what it will be asked next."""
        conversation = (*self._history.conversation(), *more)
        if conversation:
            self._begin(self._warm(conversation))

    def transcribe(self, utterance: Utterance, then: Callable[[str], Awaitable[None]]) -> None:
        """Asks what was said: for when the audio has to go, and for the caller's screen.

        In the background, as it also has to be known of an answer that gets interrupted.
        """
        self._transcribing += 1
        self._begin(self._transcribe(utterance, then))

    def tidy(self) -> None:
        """Brings the history within its budget, if this is a good moment.

        It is none in a turn, before its answer was heard, and while a transcript is still to come.
        """
        if self.busy or self._transcribing or self._history.waiting() is not None:
            return
        if not self._history.is_full():
            return
        self.spent(self._history.trim())
        self._begin(self.forget())
        self.warm()

    def spent(self, utterances: Iterable[Utterance]) -> None:
        """Nothing refers to these any more."""
        self._spent += utterances

    async def forget(self) -> None:
        """Lets the engine forget what is spent."""
        while self._spent:
            with contextlib.suppress(EngineFailed):  # an engine that is gone has forgotten it
                await self._client.forget(self._spent.pop().id)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _feed(self, listening: Listening) -> None:
        """Sends the utterance on while it grows; what fails here is sent again when asked."""
        while True:
            await self._grown.wait()
            self._grown.clear()
            if listening.utterance is not None:
                try:
                    await self._client.send(listening.utterance.id)
                except EngineFailed:
                    await asyncio.sleep(RECONNECT_SECONDS)

    async def _warm(self, conversation: tuple[Turn, ...]) -> None:
        # The turn itself meets, reports and recovers from whatever is wrong.
        with contextlib.suppress(EngineFailed):
            await self._client.warm(conversation, self._tools())

    async def _transcribe(
        self, utterance: Utterance, then: Callable[[str], Awaitable[None]]
    ) -> None:
        try:
            text = await self._client.transcribe(utterance.id)
        except EngineFailed as problem:
            log.warning("transcription failed", reason=problem.reason)
        else:
            self._history.understood(utterance, text)
            await then(text)
        finally:
            self._transcribing -= 1
        self.tidy()
