"""`UltravoxWithContextService`: the user's speech in, the answer's text out, with a memory.

To Pipecat it is a realtime LLM service driven by local turn frames. It hands the audio to the
engine while the user speaks, lets the engine get ready at every pause, asks for the answer when
the turn ends, and streams it on as LLM text frames. A turn runs in a task of its own, which an
interruption cancels. When the engine dies in a turn, the caller is told to wait and the turn is
asked again of the restarted engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMServiceMetadataFrame,
    LLMTextFrame,
    StartFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.services.llm_service import LLMService
from pipecat.utils.time import time_now_iso8601

from appliance import journal
from appliance.errors import EngineFailed, EngineGone
from appliance.link.client import EngineClient
from appliance.link.conversation import Said, Utterance
from appliance.link.engine import Piece, Result
from appliance.settings import Ultravox
from appliance.ultravox.adapter import NoAdapter, pipecat_settings
from appliance.ultravox.history import Exchange, History
from appliance.ultravox.hooks import TurnHooks
from appliance.ultravox.listening import Listening

ONE_MOMENT = "One moment, please."
CANNOT_ANSWER = "I am sorry, I cannot answer right now."
RECONNECT_SECONDS = 0.5
UNANSWERED_CHARS = 8_000  # of text typed again and again without an answer, the end counts
log = journal.get()


class UltravoxWithContextService(LLMService[Any]):
    """One session's ears and mind, in front of the engine behind `client`."""

    adapter_class = NoAdapter

    def __init__(
        self, settings: Ultravox, client: EngineClient, hooks: TurnHooks, transcripts: bool
    ) -> None:
        super().__init__(settings=pipecat_settings(settings))
        self._knobs = settings
        self._client = client
        self._hooks = hooks
        self._transcripts = transcripts
        self._listening = Listening(settings.pre_roll_seconds, settings.max_utterance_seconds)
        self._history = History(
            settings.system_prompt, settings.history_tokens, settings.history_turns
        )
        self._turn: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()
        self._warming: asyncio.Task[None] | None = None
        self._transcribing: asyncio.Task[None] | None = None
        self._spent: list[Utterance] = []  # what the engine has heard and may forget

    def can_generate_metrics(self) -> bool:
        """True: first token, processing time and token usage are reported."""
        return True

    def service_metadata_frame(self) -> LLMServiceMetadataFrame:
        """Announces a realtime service, so that turns need no transcript."""
        return LLMServiceMetadataFrame(service_name=self.name, is_realtime_service=True)

    def reply_heard(self, text: str) -> None:
        """Remembers what the user heard of the last answer."""
        self._history.heard(text)

    async def start(self, frame: StartFrame) -> None:
        """Lets the engine read the system prompt while nobody speaks yet."""
        await super().start(frame)
        self._warm(self._history.conversation())

    async def cleanup(self) -> None:
        """Ends the running turn and the engine session."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        for task in (self._turn, self._feeding, self._warming, self._transcribing):
            if task is not None:
                await self.cancel_task(task)
        self._turn = self._feeding = self._warming = self._transcribing = None
        await self._client.close()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Feeds the listening, begins and cancels turns; passes all but audio and contexts on."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                if self._listening.audio(frame.audio):
                    self._grown.set()
                return  # Nobody after this needs it, and each hop costs every caller.
            case InterruptionFrame():
                await self._cancel_turn()
            case VADUserStartedSpeakingFrame():
                self._hooks.speech_started(frame.start_secs)
                self._speech_started(frame.start_secs)
            case UserStartedSpeakingFrame():
                self._listening.turn_started()
            case VADUserStoppedSpeakingFrame():
                self._hooks.speech_ended(frame.stop_secs)
                self._speech_paused(frame.stop_secs)
            case UserStoppedSpeakingFrame():
                await self._turn_ended()
            case RTVISendTextFrame():
                await self._ask(Exchange(text=frame.text))
            case LLMContextFrame():
                return  # Only records what was said, which the history knows.
        await self.push_frame(frame, direction)

    def _speech_started(self, seconds_ago: float) -> None:
        fresh = self._listening.utterance is None
        self._listening.speech_started(seconds_ago)
        if self._feeding is None:
            self._feeding = self.create_task(self._feed())
        self._grown.set()
        if fresh:
            self._warm(self._history.conversation())

    def _speech_paused(self, seconds_ago: float) -> None:
        utterance = self._listening.speech_paused(seconds_ago)
        if utterance is not None:
            self._warm([*self._history.conversation(), Said("user", utterance=utterance)])

    async def _turn_ended(self) -> None:
        speech_seconds = self._listening.speech_seconds
        utterance = self._listening.turn_ended()
        if utterance is not None and speech_seconds >= self._knobs.min_utterance_seconds:
            await self._ask(Exchange(utterance=utterance))
            return
        self._hooks.ended("too_short")
        if utterance is not None:
            self._spent.append(utterance)
        if (waiting := self._history.unanswered()) is not None:
            await self._ask(waiting)  # a cough must not cost the caller the answer

    async def _feed(self) -> None:
        """Sends the utterance on while it grows; what fails here is sent again when asked."""
        while True:
            await self._grown.wait()
            self._grown.clear()
            utterance = self._listening.utterance
            if utterance is not None:
                try:
                    await self._client.send(utterance)
                except EngineFailed:
                    await asyncio.sleep(RECONNECT_SECONDS)

    def _warm(self, conversation: list[Said]) -> None:
        if not conversation:
            return

        async def warm() -> None:
            # The turn itself meets, reports and recovers from whatever is wrong.
            with contextlib.suppress(EngineFailed):
                await self._client.warm(conversation)

        self._warming = self.create_task(warm())

    async def _ask(self, new: Exchange) -> None:
        await self._cancel_turn()
        if (before := self._history.unanswered()) is not None:
            new = self._joined(before, new)
        self._history.ask(new.text, new.utterance)
        said = new.utterance
        self._hooks.asked("spoken" if said else "typed", said.seconds if said else 0.0)
        self._turn = self.create_task(self._run_turn(self._history.exchanges[-1]))

    def _joined(self, before: Exchange, new: Exchange) -> Exchange:
        """What the user said before without hearing any answer belongs to what is said now."""
        text = f"{before.text}\n{new.text}".strip()[-UNANSWERED_CHARS:]
        if before.utterance is None or new.utterance is None:
            return Exchange(text=text, utterance=before.utterance or new.utterance)
        self._spent += [before.utterance, new.utterance]
        both = self._listening.joined(before.utterance, new.utterance)
        return Exchange(text=text, utterance=both)

    async def _cancel_turn(self) -> None:
        if self._turn is not None:
            await self.cancel_task(self._turn)
            self._turn = None
            await self.stop_all_metrics()  # type: ignore[no-untyped-call]

    async def _run_turn(self, exchange: Exchange) -> None:
        self._spent += self._history.trim()
        while self._spent:
            with contextlib.suppress(EngineFailed):
                await self._client.forget(self._spent.pop())
        await self.start_processing_metrics()
        await self.start_ttfb_metrics()
        started, result = False, None
        try:
            async with contextlib.aclosing(self._answer()) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Result):
                        result = piece
                        continue
                    if not isinstance(piece, str):
                        continue  # no tools are offered yet
                    if not started:
                        started = True
                        await self.stop_ttfb_metrics()
                        self._hooks.first_token()
                        self._transcribe(exchange)
                        await self.push_frame(LLMFullResponseStartFrame())
                    await self.push_frame(LLMTextFrame(piece))
        except EngineFailed as problem:
            self._hooks.failed(problem)
            self._hooks.ended("failed")
            await self.push_frame(TTSSpeakFrame(CANNOT_ANSWER, append_to_context=False))
        finally:
            await self.stop_processing_metrics()
            if started:
                await self.push_frame(LLMFullResponseEndFrame())
        if result is not None:
            await self._finished(result, exchange)

    async def _finished(self, result: Result, exchange: Exchange) -> None:
        if result.reason == "nothing_heard":
            self._history.unanswered()
            if exchange.utterance is not None:
                self._spent.append(exchange.utterance)
            self._hooks.ended("nothing_heard")
            return
        self._hooks.generated(result)
        prompt, reply = (int(result.stats.get(n, 0)) for n in ("prompt_tokens", "decode_tokens"))
        usage = LLMTokenUsage(
            prompt_tokens=prompt, completion_tokens=reply, total_tokens=prompt + reply
        )
        await self.start_llm_usage_metrics(usage)

    def _transcribe(self, exchange: Exchange) -> None:
        """Asks what was said: for when the audio has to go, and for the caller's screen.

        In a task of its own, as it also has to be known of an answer that gets interrupted.
        """
        utterance = exchange.utterance
        if utterance is None:
            return

        async def transcribe() -> None:
            try:
                text = await self._client.transcribe(utterance)
            except EngineFailed as problem:
                log.warning("transcription failed", reason=problem.reason)
                return
            self._history.understood(utterance, text)
            self._hooks.understood(text)
            if text and self._transcripts:
                frame = TranscriptionFrame(text, "", time_now_iso8601(), finalized=True)
                await self.push_frame(frame, FrameDirection.UPSTREAM)

        self._transcribing = self.create_task(transcribe())

    async def _answer(self) -> AsyncGenerator[Piece, None]:
        """The engine's answer; after a loss of the engine an apology and the answer anew.

        Raises EngineFailed when the engine does not come back in time.
        """
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + self._knobs.recover_seconds
        apologised = False
        while True:
            pieces = self._client.generate(
                self._history.conversation(), self._knobs.reply_tokens, self._knobs.temperature
            )
            try:
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                return
            except EngineGone as problem:
                self._hooks.failed(problem)
                if loop.time() > gives_up_at:
                    raise
                if not apologised:
                    apologised = True
                    await self.push_frame(TTSSpeakFrame(ONE_MOMENT, append_to_context=False))
            await asyncio.sleep(RECONNECT_SECONDS)
