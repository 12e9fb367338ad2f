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
from appliance.engines.llm.small.chat import insert_transcripts, spent_tools
from appliance.engines.llm.small.llama import AbortFlag
from appliance.engines.llm.small.llama_thread import AsyncLanguageModel
from appliance.engines.llm.small.pacing import PaceLimits, ReplyPace
from appliance.engines.llm.small.parts import join_parts, spoken_parts
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.recognition import (
    UtteranceTranscript,
    whole_audio,
)
from appliance.engines.llm.small.reply_draft import ReplyDraft
from appliance.engines.llm.small.sampling import lower_scores, sample_token
from appliance.engines.llm.small.tools import parse_call
from appliance.engines.llm.small.transcriber import Transcriber
from appliance.errors import BadRequest
from appliance.link.engine import (
    ChatMessage,
    Chunk,
    FinishReason,
    GenerateRequest,
    Result,
    Tool,
    last_question,
)
from appliance.settings import LLMConfig

# Fewer new tokens are not prefilled in the background: a step of one token costs as much processor
# time as six more tokens in a later step.
MIN_BACKGROUND_TOKENS: Final = 4
# Taken from the scores of the words of a copied text when a reply is decoded again. A model that is
# sure of a word prefers it by more, so digits stay right.
COPY_PENALTY: Final = 4.0


class SmallSession:
    """`LLMSession` of the small engine."""

    def __init__(
        self,
        language_model: AsyncLanguageModel,
        transcriber: Transcriber,
        metrics: LLMMetrics,
        config: LLMConfig,
        pace: PaceLimits,
        tools: tuple[Tool, ...] = (),
    ) -> None:
        """`tools` are in the prompt until a request has others. Only a request allows calls."""
        self._language_model = language_model
        self._transcriber = transcriber
        self._metrics = metrics
        self._config = config
        self._pace = pace
        self._tools = tools
        self._transcripts: dict[int, UtteranceTranscript] = {}
        # Questions in parts that are recognized as a whole: by their utterances.
        self._wholes: dict[tuple[int, ...], UtteranceTranscript] = {}
        self._prefilling: set[AbortFlag] = set()
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
        for parts in [parts for parts in self._wholes if utterance in parts]:
            self._wholes.pop(parts).close()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate a reply. Raises BadRequest and EngineFailed.

        The prompt keeps the tools of earlier requests, because without them it would have to be
        read again. Only the tools of this request are called.
        """
        timer = GenerationTimer(NAME, self._metrics, request.speculative)
        abort = AbortFlag()
        priority = JobPriority.PREFILL if request.speculative else JobPriority.GENERATE
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
        for transcript in (*self._transcripts.values(), *self._wholes.values()):
            self._transcriber.raise_priority(transcript, JobPriority.GENERATE)

    async def transcribe(self, *utterances: int) -> str:
        """Return the transcript of a question that was spoken in these utterances."""
        question = [ChatMessage("user", utterance=utterance) for utterance in utterances]
        await self._recognize(question, JobPriority.TRANSCRIBE)
        texts = self._texts()
        return join_parts(texts[utterance] for utterance in utterances)

    async def prefill(
        self,
        conversation: tuple[ChatMessage, ...],
        tools: tuple[Tool, ...] = (),
        background: bool = False,
    ) -> None:
        """Recognize and prefill the conversation so far, unless a reply is being generated.

        A later `prefill` or `generate` stops it. A step that processes a beginning of the later
        prompt is completed first.
        """
        if self._generating:
            return
        abort = AbortFlag()
        self._prefilling.add(abort)
        self._tools = tools or self._tools
        await self._prefill(conversation, abort, background)
        self._prefilling.discard(abort)  # kept if cancelled: its last step may still be running

    async def close(self) -> None:
        """Abort all work and free the session's resources."""
        for abort in (*self._generating, *self._prefilling):
            abort.set()
        for utterance in list(self._transcripts):
            self.forget(utterance)
        await self._language_model.release(self)

    async def _prefill(
        self, conversation: tuple[ChatMessage, ...], abort: AbortFlag, background: bool
    ) -> None:
        priority = JobPriority.BACKGROUND if background else JobPriority.PREFILL
        await self._recognize(conversation, priority)
        tokens, is_open = self._prefill_prompt(conversation, background)
        if abort or not tokens:
            return
        llm = self._language_model
        missing = len(tokens) - await llm.cached(self, tokens, priority)
        if abort or missing < (MIN_BACKGROUND_TOKENS if background else 1):
            return  # also because a prefill would drop what follows these tokens in the cache
        self._supersede_prefills(tokens, by=abort)
        await llm.prefill(self, tokens, lambda: priority, abort, is_prompt=not is_open)

    async def _reply(
        self, request: GenerateRequest, timer: GenerationTimer, abort: AbortFlag, pace: ReplyPace
    ) -> AsyncGenerator[Chunk, None]:
        """Recognize the question, read the prompt and decode the reply."""
        conversation, max_tokens = request.conversation, request.max_tokens
        if not conversation or conversation[-1].role not in ("user", "tool"):
            raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
        llm, stats = self._language_model, timer.stats
        await self._recognize(conversation, pace.priority(time.monotonic()))
        question = last_question(conversation)
        timer.mark_understood(has_speech=question[-1].utterance is not None)
        texts = self._texts()
        if not insert_transcripts(question, texts):
            self._supersede_prefills(())
            yield Result("nothing_heard", stats)
            return

        self._tools = request.tools or self._tools
        turns = insert_transcripts(conversation, texts)
        limit = llm.model.context_tokens - max_tokens
        prompt = llm.format.build_prompt(turns, limit, tools=self._tools)
        self._supersede_prefills(prompt)
        cached = await llm.cached(self, prompt, pace.priority(time.monotonic()))
        stats |= {"prompt_tokens": len(prompt), "cached_tokens": cached, "decode_tokens": 0}
        self._metrics.prompt_tokens.inc(len(prompt))
        self._metrics.cached_tokens.inc(cached)
        decoded = self._decode(request, turns, prompt, timer, abort, pace)
        async with contextlib.aclosing(decoded) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _decode(
        self,
        request: GenerateRequest,
        turns: Sequence[ChatMessage],
        prompt: Sequence[int],
        timer: GenerationTimer,
        abort: AbortFlag,
        pace: ReplyPace,
    ) -> AsyncGenerator[Chunk, None]:
        """Decode the reply to `turns`, whose tokens are `prompt`. Ends early if `abort` is set."""
        llm, stats = self._language_model, timer.stats
        hint = llm.format.reply_hint(turns, self._tools)
        draft = ReplyDraft(
            llm.model, prompt, turns, hint, self._tools, on_copy=self._metrics.copies.inc
        )
        forbidden = spent_tools(turns, request.tools) if request.tools else self._tools
        random = np.random.default_rng()
        if hint.beginning:
            timer.mark_first_token()
        if piece := draft.begin():
            pace.add(piece, time.monotonic())
            yield piece
        while not draft.is_complete and stats["decode_tokens"] < request.max_tokens:
            if (seconds := pace.wait_seconds(time.monotonic())) > 0:
                await asyncio.sleep(seconds)
            logits = await llm.prefill(
                self,
                draft.tokens,
                lambda: pace.priority(time.monotonic()),
                abort,
                is_prompt=draft.is_empty,
            )
            if logits is None:
                return  # the session was closed
            if draft.is_empty:
                logits = lower_scores(logits, llm.first_tokens(forbidden), np.inf)
            logits = lower_scores(logits, draft.avoided, COPY_PENALTY)
            if not stats["decode_tokens"] and not hint.beginning:
                timer.mark_first_token()
            stats["decode_tokens"] += 1
            if piece := draft.add(sample_token(logits, request.temperature, random)):
                pace.add(piece, time.monotonic())
                yield piece
        if piece := draft.finish():
            yield piece
        reason: FinishReason = "stop" if draft.is_complete else "length"
        if draft.call is not None:
            yield parse_call(draft.call, request.tools)
            reason = "tool_call"
        yield Result(reason, stats)

    async def _recognize(self, conversation: Sequence[ChatMessage], priority: JobPriority) -> None:
        """Complete the recognition of the conversation's utterances."""
        for parts in spoken_parts(conversation):
            for utterance in parts:
                await self._transcriber.complete(self._transcript(utterance), priority)
            if len(parts) > 1:
                await self._recognize_whole(parts, priority)

    async def _recognize_whole(self, parts: tuple[int, ...], priority: JobPriority) -> None:
        """Recognize the parts of a question as a whole if that is better."""
        audio = whole_audio([self._transcript(utterance) for utterance in parts])
        whole = self._wholes.get(parts)
        if whole is not None and (audio is None or whole.pcm != audio):
            self._wholes.pop(parts).close()
            whole = None
        if audio is None or priority is JobPriority.BACKGROUND:
            return
        if whole is None:
            whole = UtteranceTranscript(self._config.max_utterance_seconds)
            whole.add(audio)
            self._wholes[parts] = whole
        await self._transcriber.complete(whole, priority)

    def _prefill_prompt(
        self, conversation: Sequence[ChatMessage], background: bool
    ) -> tuple[list[int], bool]:
        """Return the prompt of a `prefill`, and whether it is only the beginning of a prompt.

        The prompt is empty if there is nothing to prefill. In the background, it ends with the
        words of the last utterance that will probably not change.
        """
        last = conversation[-1].utterance if conversation else None
        is_speaking = background and last is not None
        texts = self._texts(growing=last if is_speaking else None)
        if last is not None and is_speaking:
            texts[last] = self._transcript(last).stable_text
        turns = insert_transcripts(conversation, texts)
        if not turns:
            return [], True
        llm = self._language_model
        limit = llm.model.context_tokens - self._config.reply_tokens
        is_open = is_speaking or turns[-1].role not in ("user", "tool")
        return llm.format.build_prompt(turns, limit, is_open, self._tools), is_open

    def _texts(self, growing: int | None = None) -> dict[int, str]:
        """Return the words of each utterance. Those of a whole question are in its first part."""
        texts = {utterance: transcript.text for utterance, transcript in self._transcripts.items()}
        for parts, whole in self._wholes.items():
            if whole.text and growing not in parts:
                texts |= dict.fromkeys(parts, "") | {parts[0]: whole.text}
        return texts

    def _supersede_prefills(self, tokens: Sequence[int], by: AbortFlag | None = None) -> None:
        """Stop all prefills but that with the flag `by`, because `tokens` will be processed now."""
        for abort in self._prefilling - {by}:
            self._language_model.supersede(self, abort, tokens)
        self._prefilling &= {by}

    def _transcript(self, utterance: int) -> UtteranceTranscript:
        try:
            return self._transcripts[utterance]
        except KeyError:
            raise BadRequest(engine=NAME, what=f"unknown utterance {utterance}") from None
