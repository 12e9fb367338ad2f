"""Background work for a conversation, done early so that no user waits for it.

While the user speaks, the utterance is sent to the engine, and at each pause the engine prefills.
Once the reply has started, the utterance is transcribed. When the transcript has arrived and the
reply has been played, the history is trimmed to its budget. No turn is running then, so the prefill
of the shorter conversation delays no reply.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.history import History
from appliance.gateway.utterances import UtteranceCollector
from appliance.link.client import RECONNECT_SECONDS, EngineClient
from appliance.link.engine import Tool, Turn, Utterance
from appliance.tasks import cancel, spawn

log = journal.get()


class Prefetcher:
    """Background work of one session. `tools` returns what the model may currently call."""

    def __init__(
        self, client: EngineClient, history: History, tools: Callable[[], tuple[Tool, ...]]
    ) -> None:
        self._client = client
        self._history = history
        self._tools = tools
        self._tasks: set[asyncio.Task[None]] = set()
        self._new_audio = asyncio.Event()
        self._streaming = False
        self._transcribing = 0
        self._discarded: list[Utterance] = []
        self.turn_running = False  # while true, the history must not change

    async def close(self) -> None:
        """Cancel all work."""
        await cancel(*self._tasks)

    def audio_added(self, collector: UtteranceCollector) -> None:
        """Send the new audio of the collector's current utterance."""
        if not self._streaming:
            self._streaming = True
            self._start(self._stream(collector))
        self._new_audio.set()

    def prefill(self, *turns: Turn) -> None:
        """Ask the engine to prefill the conversation followed by `turns`."""
        conversation = (*self._history.conversation(), *turns)
        if conversation:
            self._start(self._prefill(conversation))

    def transcribe(
        self, utterance: Utterance, on_transcript: Callable[[str], Awaitable[None]]
    ) -> None:
        """Transcribe an utterance, for the history and for display by the client.

        The transcript of a question is needed even if its reply is interrupted.
        """
        self._transcribing += 1
        self._start(self._transcribe(utterance, on_transcript))

    def trim_history(self) -> None:
        """Trim the history to its budget, unless a turn or a transcription still needs it."""
        if self.turn_running or self._transcribing or self._history.pending() is not None:
            return
        if not self._history.is_full():
            return
        self.discard(self._history.trim())
        self._start(self.forget_discarded())
        self.prefill()

    def discard(self, utterances: Iterable[Utterance]) -> None:
        """Mark utterances for `forget_discarded`: no turn refers to them any more."""
        self._discarded += utterances

    async def forget_discarded(self) -> None:
        """Free discarded utterances here and in the engine."""
        while self._discarded:
            with contextlib.suppress(EngineFailed):  # a restarted engine lacks the utterance
                await self._client.forget(self._discarded.pop().id)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = spawn(work, "prefetch")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, collector: UtteranceCollector) -> None:
        """Send utterances while they grow. Unsent audio is sent with the request."""
        while True:
            await self._new_audio.wait()
            self._new_audio.clear()
            if collector.current is not None:
                try:
                    await self._client.send(collector.current.id)
                except EngineFailed:
                    await asyncio.sleep(RECONNECT_SECONDS)

    async def _prefill(self, conversation: tuple[Turn, ...]) -> None:
        with contextlib.suppress(EngineFailed):  # the turn will report the failure
            await self._client.warm(conversation, self._tools())

    async def _transcribe(
        self, utterance: Utterance, on_transcript: Callable[[str], Awaitable[None]]
    ) -> None:
        try:
            text = await self._client.transcribe(utterance.id)
        except EngineFailed as problem:
            log.warning("transcription failed", reason=problem.reason)
        else:
            self._history.set_transcript(utterance, text)
            await on_transcript(text)
        finally:
            self._transcribing -= 1
        self.trim_history()
