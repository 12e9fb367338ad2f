"""A session of the small engine: the utterances of one connection, and the replies to them.

A request runs the recognizer and the language model in small steps, so it can be stopped quickly.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from appliance.engines.llm import NAME
from appliance.engines.llm.metrics import GenerationTimer, LLMMetrics
from appliance.engines.llm.small.chat import insert_transcripts
from appliance.engines.llm.small.llama import AbortFlag, AsyncLanguageModel, sample_token
from appliance.engines.llm.small.recognition import Transcriber, UtteranceTranscript
from appliance.engines.llm.small.worker import JobPriority
from appliance.engines.llm.text import ReplyText
from appliance.errors import BadRequest
from appliance.link.engine import Chunk, FinishReason, GenerateRequest, Result, Tool, Turn
from appliance.settings import LLMConfig


class SmallSession:
    """`LLMSession` of the small engine. Does not support tool calling."""

    def __init__(
        self,
        language_model: AsyncLanguageModel,
        transcriber: Transcriber,
        metrics: LLMMetrics,
        config: LLMConfig,
    ) -> None:
        self._language_model = language_model
        self._transcriber = transcriber
        self._metrics = metrics
        self._config = config
        self._transcripts: dict[int, UtteranceTranscript] = {}
        self._warming: AbortFlag | None = None
        self._generating: set[AbortFlag] = set()

    def begin(self, utterance: int) -> None:
        """Begin an utterance."""
        config = self._config
        self._transcripts[utterance] = UtteranceTranscript(
            config.min_utterance_seconds, config.max_utterance_seconds
        )

    def add_audio(self, utterance: int, pcm: bytes) -> None:
        """Add audio to an utterance. Raises BadRequest for an unknown utterance."""
        transcript = self._transcript(utterance)
        if len(pcm) % 2:
            raise BadRequest(engine=NAME, what="half a sample")
        transcript.add(pcm)
        self._transcriber.schedule_segments(transcript)

    def end(self, utterance: int) -> None:
        """Check the id. The rest of the utterance is recognized by `generate`."""
        self._transcript(utterance)

    def forget(self, utterance: int) -> None:
        """Drop an utterance that will not be used again."""
        transcript = self._transcripts.pop(utterance, None)
        if transcript is not None:
            transcript.close()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate a reply. Tools are ignored. Raises BadRequest and EngineFailed."""
        self._stop_warming()
        timer, abort = GenerationTimer(NAME, self._metrics), AbortFlag()
        self._generating.add(abort)
        reply = self._reply(request, timer, abort)
        try:
            async with contextlib.aclosing(timer.track(reply)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            abort.set()
            self._generating.discard(abort)

    async def transcribe(self, utterance: int) -> str:
        """Return the transcript of a complete utterance."""
        transcript = self._transcript(utterance)
        return await self._transcriber.complete(transcript, JobPriority.TRANSCRIBE)

    async def warm(self, conversation: tuple[Turn, ...], tools: tuple[Tool, ...] = ()) -> None:
        """Recognize and prefill the conversation so far. A later `warm` or `generate` stops it."""
        self._stop_warming()
        self._warming = abort = AbortFlag()
        turns = await self._transcribe_turns(conversation, JobPriority.WARM)
        if turns and not abort:
            llm = self._language_model
            limit = llm.model.context_tokens - self._config.reply_tokens
            tokens = llm.format.build_prompt(turns, limit)
            await llm.prefill(self, tokens, JobPriority.WARM, abort)

    async def close(self) -> None:
        """Abort all work and free the session's resources."""
        for abort in self._generating:
            abort.set()
        self._stop_warming()
        for utterance in list(self._transcripts):
            self.forget(utterance)
        await self._language_model.release(self)

    async def _reply(
        self, request: GenerateRequest, timer: GenerationTimer, abort: AbortFlag
    ) -> AsyncGenerator[Chunk, None]:
        conversation, max_tokens = request.conversation, request.max_tokens
        if not conversation or conversation[-1].role != "user":
            raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
        llm, metrics, stats = self._language_model, self._metrics, timer.stats
        turns = await self._transcribe_turns(conversation, JobPriority.GENERATE)
        timer.mark_understood(has_speech=conversation[-1].utterance is not None)
        if not insert_transcripts(conversation[-1:], self._texts()):
            yield Result("nothing_heard", stats)
            return

        tokens = llm.format.build_prompt(turns, llm.model.context_tokens - max_tokens)
        cached = await llm.cached(self, tokens, JobPriority.GENERATE)
        stats |= {"prompt_tokens": len(tokens), "cached_tokens": cached, "decode_tokens": 0}
        metrics.prompt_tokens.inc(len(tokens))
        metrics.cached_tokens.inc(cached)
        text, random = ReplyText(), np.random.default_rng()
        reason: FinishReason = "length"
        while stats["decode_tokens"] < max_tokens:
            logits = await llm.prefill(self, tokens, JobPriority.GENERATE, abort)
            if logits is None:
                return  # the session was closed
            token = sample_token(logits, request.temperature, random)
            if not stats["decode_tokens"]:
                timer.mark_first_token()
            stats["decode_tokens"] += 1
            if llm.model.is_control(token):
                reason = "stop"
                break
            tokens.append(token)
            if piece := text.add_bytes(llm.model.piece(token)):
                yield piece
            if text.is_looping:
                reason = "stop"
                break
        if piece := text.finish():
            yield piece
        yield Result(reason, stats)

    async def _transcribe_turns(
        self, conversation: Sequence[Turn], priority: JobPriority
    ) -> list[Turn]:
        """Return the conversation as text. Completes the recognition of its utterances."""
        for turn in conversation:
            if turn.utterance is not None:
                await self._transcriber.complete(self._transcript(turn.utterance), priority)
        return insert_transcripts(conversation, self._texts())

    def _texts(self) -> dict[int, str]:
        return {utterance: transcript.text for utterance, transcript in self._transcripts.items()}

    def _stop_warming(self) -> None:
        if self._warming is not None:
            self._warming.set()
            self._warming = None

    def _transcript(self, utterance: int) -> UtteranceTranscript:
        try:
            return self._transcripts[utterance]
        except KeyError:
            raise BadRequest(engine=NAME, what=f"unknown utterance {utterance}") from None
