"""Background work for a conversation, done early so that no user waits for it.

While the user speaks, the utterance is sent to the engine, which recognizes and prefills the part
that has arrived, and all of it at each pause. Once the reply has started, the utterance
is transcribed. When the text of the reply is complete, the history is trimmed to its budget, and
the shorter conversation is prefilled while the reply is played.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from appliance import journal
from appliance.errors import EngineFailed
from appliance.gateway.generation.history import History
from appliance.gateway.generation.utterances import UtteranceCollector
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, Tool
from appliance.link.recovery import RECONNECT_SECONDS
from appliance.link.utterance import Utterance
from appliance.tasks import cancel, spawn

FIRST_SPEECH_SECONDS: Final = 1.0  # the recognizer needs about this much speech to find words
SPEECH_SECONDS: Final = 0.5
# The recognizer starts again at the beginning of the utterance, or at its last long pause, so the
# interval grows with the speech so far. Engine CPU per turn, measured on two cores with the default
# models: 0.93 of that without prefill for questions of 2 s, 1.2 for sentences of 6 s; with 0.25, it
# is 1.6 for 6 s.
SPEECH_RATIO: Final = 0.75
log = journal.get()


class SpeechPrefill:
    """Decides when a growing utterance is prefilled: after 1, 1.75 and 3.1 s of speech, etc."""

    def __init__(self) -> None:
        self._utterance = 0
        self._due_seconds = FIRST_SPEECH_SECONDS

    def is_due(self, utterance: int, speech_seconds: float, is_free: bool) -> bool:
        """Return whether to prefill now; then the next time is later.

        `is_free`: no request that a user waits for needs the engine.
        """
        if utterance != self._utterance:
            self._utterance, self._due_seconds = utterance, FIRST_SPEECH_SECONDS
        if not is_free or speech_seconds < self._due_seconds:
            return False
        self._due_seconds = speech_seconds + max(SPEECH_SECONDS, SPEECH_RATIO * speech_seconds)
        return True


class Prefetcher:
    """Background work of one session.

    tools          returns what the model may currently call
    others_waiting returns whether the user of another session waits for a reply
    """

    def __init__(
        self,
        client: EngineClient,
        history: History,
        tools: Callable[[], tuple[Tool, ...]],
        others_waiting: Callable[[], bool],
    ) -> None:
        self._client = client
        self._history = history
        self._tools = tools
        self._others_waiting = others_waiting
        self._tasks: set[asyncio.Task[None]] = set()
        self._new_audio = asyncio.Event()
        self._streaming = False
        self._speech_prefill = SpeechPrefill()
        self._transcribing: list[tuple[Utterance, ...]] = []
        self._discarded: list[Utterance] = []
        self.turn_running = False  # set by the service; while true, the history must not change

    async def close(self) -> None:
        """Cancel all work."""
        await cancel(*self._tasks)

    def audio_added(self, collector: UtteranceCollector) -> None:
        """Send the new audio of the collector's current utterance."""
        if not self._streaming:
            self._streaming = True
            self._start(self._stream(collector))
        self._new_audio.set()
        utterance = collector.current
        is_free = not self.turn_running and not self._others_waiting()
        if utterance is not None and self._speech_prefill.is_due(
            utterance.id, collector.speech_seconds, is_free
        ):
            # A question before it without a reply is the first part of the same question.
            message = ChatMessage("user", utterance=utterance.id)
            self._start(self._prefill((*self._history.conversation(), message), background=True))

    def prefill(self, *messages: ChatMessage) -> None:
        """Ask the engine to prefill the conversation followed by `messages`."""
        conversation = (*self._history.conversation(), *messages)
        if conversation:
            self._start(self._prefill(conversation))

    def transcribe(
        self, utterances: tuple[Utterance, ...], on_transcript: Callable[[str], Awaitable[None]]
    ) -> None:
        """Transcribe the utterances of a question, for the history and for display by the client.

        The transcript of a question is needed even if its reply is interrupted.
        """
        self._transcribing.append(utterances)
        self._start(self._transcribe(utterances, on_transcript))

    def reply_generated(self, text: str) -> None:
        """Trim the history for a reply whose text is complete, and prefill while it is played.

        If the user hears only a part of the reply, the prefill is valid up to there.
        """
        self._history.expect_reply(text)
        self._trim(background=True)

    def trim_history(self) -> None:
        """Trim the history to its budget, unless a turn or a transcription still needs it."""
        if not self.turn_running:
            self._trim(background=False)

    def discard(self, utterances: Iterable[Utterance]) -> None:
        """Mark utterances for `forget_discarded`: no message refers to them any more."""
        self._discarded += utterances

    def _trim(self, background: bool) -> None:
        exchanges = self._history.exchanges
        if not exchanges or not self._history.is_full():
            return
        last = exchanges[-1]
        if not (last.reply or last.expected):
            return  # the last question will be generated again, or joined with the next one
        # The last exchange is never dropped, so its transcript can arrive later.
        if any(utterances != last.utterances for utterances in self._transcribing):
            return
        self.discard(self._history.trim())
        self._start(self.forget_discarded())
        self._start(self._prefill(self._history.expected_conversation(), background))

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

    async def _prefill(
        self, conversation: tuple[ChatMessage, ...], background: bool = False
    ) -> None:
        with contextlib.suppress(EngineFailed):  # the turn will report the failure
            await self._client.prefill(conversation, self._tools(), background)

    async def _transcribe(
        self, utterances: tuple[Utterance, ...], on_transcript: Callable[[str], Awaitable[None]]
    ) -> None:
        try:
            text = await self._client.transcribe(*(utterance.id for utterance in utterances))
        except EngineFailed as problem:
            log.warning("transcription failed", reason=problem.reason)
        else:
            self._history.set_transcript(utterances, text)
            await on_transcript(text)
        finally:
            self._transcribing.remove(utterances)
        self.trim_history()
