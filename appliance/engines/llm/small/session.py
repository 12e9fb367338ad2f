"""One caller of the small speech-LLM: what they said so far, and the replies to it.

A request asks the recognizer and the language model for one small piece of work at a time, so
stopping it takes no longer than the piece under way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Hashable, Sequence
from pathlib import Path

import numpy as np

from appliance.engines.llm.metrics import EngineMeters, Request
from appliance.engines.llm.small.chat import ChatFormat, filled
from appliance.engines.llm.small.hearing import Hearing, Transcript
from appliance.engines.llm.small.llama import Abort, LanguageModel, Logits, choose
from appliance.engines.llm.small.worker import Urgency, Worker
from appliance.engines.llm.text import Reply
from appliance.errors import BadRequest, EngineFailed
from appliance.link.engine import FinishReason, GenerateRequest, Piece, Result, Tool, Turn
from appliance.settings import LLMConfig


class Answering:
    """Runs prompts in a thread of its own; `owner` is the session whose cache is meant."""

    def __init__(self) -> None:
        self._worker = Worker("answering")
        self._model: LanguageModel | None = None

    async def load(self, path: Path, threads: int, context_tokens: int, slots: int) -> None:
        """Loads the model. Raises MissingWeights, UnreadableModel or UnknownLlama."""
        self._model = model = await self._worker.run(
            Urgency.GENERATE, lambda: LanguageModel(path, threads, context_tokens, slots)
        )
        self.format = ChatFormat(model)

    async def stop(self) -> None:
        """Frees the model and ends the thread."""
        if self._model is not None:
            await self._worker.run(Urgency.CLOSE, self._model.close)
            self._model = None
        await asyncio.to_thread(self._worker.stop)

    @property
    def model(self) -> LanguageModel:
        """The language model. Raises EngineFailed before `load` and after `stop`."""
        if self._model is None:
            raise EngineFailed(engine="llm")
        return self._model

    async def prefill(
        self, owner: Hashable, tokens: list[int], urgency: Urgency, abort: Abort
    ) -> Logits | None:
        """Runs what the cache lacks of `tokens`, batch by batch; None when aborted."""
        model = self.model
        while True:
            step = await self._worker.run(urgency, lambda: model.advance(owner, tokens, abort))
            if step is None:
                return None
            if step.logits is not None:
                return step.logits

    async def cached(self, owner: Hashable, tokens: list[int], urgency: Urgency) -> int:
        """How many of the tokens need not be run."""
        model = self.model
        return await self._worker.run(urgency, lambda: model.cached(owner, tokens))

    async def release(self, owner: Hashable) -> None:
        """Forgets what is cached for `owner`."""
        model = self.model
        await self._worker.run(Urgency.GENERATE, lambda: model.release(owner))


NAME = "llm"


class SmallSession:
    """`SpeechSession` of one caller."""

    def __init__(
        self, answering: Answering, hearing: Hearing, meters: EngineMeters, given: LLMConfig
    ) -> None:
        self._answering = answering
        self._hearing = hearing
        self._meters = meters
        self._settings = given
        self._transcripts: dict[int, Transcript] = {}
        self._warming: Abort | None = None
        self._running: set[Abort] = set()

    def begin(self, utterance: int) -> None:
        """A new utterance begins."""
        given = self._settings
        self._transcripts[utterance] = Transcript(
            given.min_utterance_seconds, given.max_utterance_seconds
        )

    def hear(self, utterance: int, pcm: bytes) -> None:
        """More audio of it. Raises BadRequest for audio of an unknown utterance."""
        transcript = self._transcript(utterance)
        if len(pcm) % 2:
            raise BadRequest(engine=NAME, what="half a sample")
        transcript.add(pcm)
        self._hearing.listen(transcript)

    def end(self, utterance: int) -> None:
        """The utterance is complete; there is nothing to do, `generate` hears what is left."""
        self._transcript(utterance)

    def forget(self, utterance: int) -> None:
        """The utterance will not be referred to again."""
        transcript = self._transcripts.pop(utterance, None)
        if transcript is not None:
            transcript.close()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Piece, None]:
        """Replies to a conversation; without tools. Raises BadRequest and EngineFailed."""
        self._precede()
        measured, abort = Request(NAME, self._meters), Abort()
        self._running.add(abort)
        answer = self._answer(request, measured, abort)
        try:
            async with contextlib.aclosing(measured.counted(answer)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            abort.set()
            self._running.discard(abort)

    async def transcribe(self, utterance: int) -> str:
        """What was said in a complete utterance."""
        transcript = self._transcript(utterance)
        return await self._hearing.text(transcript, Urgency.TRANSCRIBE)

    async def warm(self, conversation: tuple[Turn, ...], tools: tuple[Tool, ...] = ()) -> None:
        """Hears and runs what is there so far; a later `warm` or `generate` stops it."""
        self._precede()
        self._warming = abort = Abort()
        turns = await self._heard(conversation, Urgency.WARM)
        if turns and not abort:
            room = self._answering.model.context_tokens - self._settings.reply_tokens
            tokens = self._answering.format.prompt(turns, room)
            await self._answering.prefill(self, tokens, Urgency.WARM, abort)

    async def close(self) -> None:
        """The caller left."""
        for abort in self._running:
            abort.set()
        self._precede()
        for utterance in list(self._transcripts):
            self.forget(utterance)
        await self._answering.release(self)

    async def _answer(
        self, request: GenerateRequest, measured: Request, abort: Abort
    ) -> AsyncGenerator[Piece, None]:
        conversation, max_tokens = request.conversation, request.max_tokens
        if not conversation or conversation[-1].role != "user":
            raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
        answering, meters, stats = self._answering, self._meters, measured.stats
        turns = await self._heard(conversation, Urgency.GENERATE)
        measured.heard(spoken=conversation[-1].utterance is not None)
        if not filled(conversation[-1:], self._texts()):
            yield Result("nothing_heard", stats)
            return

        tokens = answering.format.prompt(turns, answering.model.context_tokens - max_tokens)
        cached = await answering.cached(self, tokens, Urgency.GENERATE)
        stats |= {"prompt_tokens": len(tokens), "cached_tokens": cached, "decode_tokens": 0}
        meters.prompt_tokens.inc(len(tokens))
        meters.cached_tokens.inc(cached)
        reply, random = Reply(), np.random.default_rng()
        reason: FinishReason = "length"
        while stats["decode_tokens"] < max_tokens:
            logits = await answering.prefill(self, tokens, Urgency.GENERATE, abort)
            if logits is None:
                return  # The session was closed.
            token = choose(logits, request.temperature, random)
            if not stats["decode_tokens"]:
                measured.first_token()
            stats["decode_tokens"] += 1
            if answering.model.is_control(token):
                reason = "stop"
                break
            tokens.append(token)
            if text := reply.add(answering.model.piece(token)):
                yield text
            if reply.loops:
                reason = "stop"
                break
        if text := reply.finish():
            yield text
        yield Result(reason, stats)

    async def _heard(self, conversation: Sequence[Turn], urgency: Urgency) -> list[Turn]:
        """The conversation in words; what was not recognised yet is recognised now."""
        for turn in conversation:
            if turn.utterance is not None:
                await self._hearing.text(self._transcript(turn.utterance), urgency)
        return filled(conversation, self._texts())

    def _texts(self) -> dict[int, str]:
        return {utterance: known.text for utterance, known in self._transcripts.items()}

    def _precede(self) -> None:
        """What is being warmed gives way to what comes now."""
        if self._warming is not None:
            self._warming.set()
            self._warming = None

    def _transcript(self, utterance: int) -> Transcript:
        try:
            return self._transcripts[utterance]
        except KeyError:
            raise BadRequest(engine=NAME, what=f"unknown utterance {utterance}") from None
