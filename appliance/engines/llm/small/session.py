"""A session of the small engine: the utterances of one connection, and the replies to them.

A request runs the recognizer and the language model in small steps, so it can be stopped quickly.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import numpy as np

from appliance.engines.llm import NAME
from appliance.engines.llm.metrics import GenerationTimer, LLMMetrics
from appliance.engines.llm.small.chat import insert_transcripts
from appliance.engines.llm.small.llama import AbortFlag, AsyncLanguageModel, sample_token
from appliance.engines.llm.small.pacing import PaceLimits, ReplyPace
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.recognition import Transcriber, UtteranceTranscript
from appliance.engines.llm.text import ReplyText
from appliance.errors import BadRequest
from appliance.link.engine import Chunk, FinishReason, GenerateRequest, Result, Tool, Turn
from appliance.settings import LLMConfig

# Fewer new tokens are not prefilled in the background: a step of one token costs as much processor
# time as six more tokens in a later step.
MIN_BACKGROUND_TOKENS: Final = 4


class SmallSession:
    """`LLMSession` of the small engine. Does not support tool calling."""

    def __init__(
        self,
        language_model: AsyncLanguageModel,
        transcriber: Transcriber,
        metrics: LLMMetrics,
        config: LLMConfig,
        pace: PaceLimits,
    ) -> None:
        self._language_model = language_model
        self._transcriber = transcriber
        self._metrics = metrics
        self._config = config
        self._pace = pace
        self._transcripts: dict[int, UtteranceTranscript] = {}
        self._warming: set[AbortFlag] = set()
        self._generating: dict[AbortFlag, tuple[GenerationTimer, ReplyPace]] = {}

    def begin(self, utterance: int) -> None:
        """Begin an utterance."""
        self._transcripts[utterance] = UtteranceTranscript(self._config.max_utterance_seconds)

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
        timer = GenerationTimer(NAME, self._metrics, request.speculative)
        abort = AbortFlag()
        priority = JobPriority.WARM if request.speculative else JobPriority.GENERATE
        pace = ReplyPace(self._pace, priority)
        self._generating[abort] = timer, pace
        reply = self._reply(request, timer, abort, pace)
        try:
            async with contextlib.aclosing(timer.track(reply)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Result):
                        self._generating.pop(abort, None)  # before the gateway can request more
                    yield piece
        finally:
            abort.set()
            self._generating.pop(abort, None)

    def confirm(self) -> None:
        """Give the running reply the priority of one that a user waits for."""
        for timer, pace in self._generating.values():
            timer.confirm()
            pace.confirm()
        self._language_model.raise_priority(self, JobPriority.GENERATE)
        for transcript in self._transcripts.values():
            self._transcriber.raise_priority(transcript, JobPriority.GENERATE)

    async def transcribe(self, utterance: int) -> str:
        """Return the transcript of a complete utterance."""
        transcript = self._transcript(utterance)
        return await self._transcriber.complete(transcript, JobPriority.TRANSCRIBE)

    async def warm(
        self,
        conversation: tuple[Turn, ...],
        tools: tuple[Tool, ...] = (),
        background: bool = False,
    ) -> None:
        """Recognize and prefill the conversation so far, unless a reply is being generated.

        A later `warm` or `generate` stops it. A step that processes a beginning of the later prompt
        is completed first.
        """
        if self._generating:
            return
        abort = AbortFlag()
        self._warming.add(abort)
        await self._prefill(conversation, abort, background)
        self._warming.discard(abort)  # kept if cancelled: its last step may still be running

    async def close(self) -> None:
        """Abort all work and free the session's resources."""
        for abort in (*self._generating, *self._warming):
            abort.set()
        for utterance in list(self._transcripts):
            self.forget(utterance)
        await self._language_model.release(self)

    async def _prefill(
        self, conversation: tuple[Turn, ...], abort: AbortFlag, background: bool
    ) -> None:
        priority = JobPriority.BACKGROUND if background else JobPriority.WARM
        await self._recognize(conversation, priority)
        tokens, is_open = self._warm_prompt(conversation, background)
        if abort or not tokens:
            return
        llm = self._language_model
        missing = len(tokens) - await llm.cached(self, tokens, priority)
        if abort or missing < (MIN_BACKGROUND_TOKENS if background else 1):
            return  # also because a prefill would drop what follows these tokens in the cache
        self._supersede_warming(tokens, by=abort)
        await llm.prefill(self, tokens, lambda: priority, abort, is_prompt=not is_open)

    async def _reply(
        self, request: GenerateRequest, timer: GenerationTimer, abort: AbortFlag, pace: ReplyPace
    ) -> AsyncGenerator[Chunk, None]:
        conversation, max_tokens = request.conversation, request.max_tokens
        if not conversation or conversation[-1].role != "user":
            raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
        llm, metrics, stats = self._language_model, self._metrics, timer.stats

        def priority() -> JobPriority:
            return pace.priority(time.monotonic())

        await self._recognize(conversation, priority())
        timer.mark_understood(has_speech=conversation[-1].utterance is not None)
        texts = self._texts()
        if not insert_transcripts(conversation[-1:], texts):
            self._supersede_warming(())
            yield Result("nothing_heard", stats)
            return

        turns = insert_transcripts(conversation, texts)
        tokens = llm.format.build_prompt(turns, llm.model.context_tokens - max_tokens)
        self._supersede_warming(tokens)
        cached = await llm.cached(self, tokens, priority())
        stats |= {"prompt_tokens": len(tokens), "cached_tokens": cached, "decode_tokens": 0}
        metrics.prompt_tokens.inc(len(tokens))
        metrics.cached_tokens.inc(cached)
        text, random = ReplyText(), np.random.default_rng()
        reason: FinishReason = "length"
        while stats["decode_tokens"] < max_tokens:
            if (seconds := pace.wait_seconds(time.monotonic())) > 0:
                await asyncio.sleep(seconds)
            is_prompt = not stats["decode_tokens"]
            logits = await llm.prefill(self, tokens, priority, abort, is_prompt)
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
                pace.add(piece, time.monotonic())
                yield piece
            if text.is_looping:
                reason = "stop"
                break
        if piece := text.finish():
            yield piece
        yield Result(reason, stats)

    async def _recognize(self, conversation: Sequence[Turn], priority: JobPriority) -> None:
        """Complete the recognition of the conversation's utterances."""
        for turn in conversation:
            if turn.utterance is not None:
                await self._transcriber.complete(self._transcript(turn.utterance), priority)

    def _warm_prompt(
        self, conversation: Sequence[Turn], background: bool
    ) -> tuple[list[int], bool]:
        """Return the prompt of a `warm`, and whether it is only the beginning of a prompt.

        The prompt is empty if there is nothing to prefill. In the background, it ends with the
        words of the last utterance that will probably not change.
        """
        texts = self._texts()
        last = conversation[-1].utterance if conversation else None
        is_speaking = background and last is not None
        if last is not None and is_speaking:
            texts[last] = self._transcript(last).stable_text
        turns = insert_transcripts(conversation, texts)
        if not turns:
            return [], True
        llm = self._language_model
        limit = llm.model.context_tokens - self._config.reply_tokens
        is_open = is_speaking or turns[-1].role != "user"
        return llm.format.build_prompt(turns, limit, is_open), is_open

    def _texts(self) -> dict[int, str]:
        return {utterance: transcript.text for utterance, transcript in self._transcripts.items()}

    def _supersede_warming(self, tokens: Sequence[int], by: AbortFlag | None = None) -> None:
        """Stop all warming but that with the flag `by`, because `tokens` will be processed now."""
        for abort in self._warming - {by}:
            self._language_model.supersede(self, abort, tokens)
        self._warming &= {by}

    def _transcript(self, utterance: int) -> UtteranceTranscript:
        try:
            return self._transcripts[utterance]
        except KeyError:
            raise BadRequest(engine=NAME, what=f"unknown utterance {utterance}") from None
