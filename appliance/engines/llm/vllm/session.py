"""A session of Ultravox under vLLM: the utterances of one connection, and the replies to them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from appliance.engines.llm import NAME
from appliance.engines.llm.metrics import GenerationTimer, LLMMetrics
from appliance.engines.llm.vllm.admission import Displaced, KVAdmission, RequestKind
from appliance.engines.llm.vllm.audio import SessionClips
from appliance.engines.llm.vllm.probe import ModelProbe
from appliance.engines.llm.vllm.prompt import Llama3Format, Prompt
from appliance.engines.llm.vllm.reply import ReplyParser
from appliance.engines.llm.vllm.runtime import DecodeRequest, DecodeStep, VllmRuntime
from appliance.errors import BadRequest, EngineBusy, EngineFailed
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

TRANSCRIBE = "Transcribe"  # the prompt used by the model's authors
MIN_TRANSCRIPT_TOKENS = 16
TRANSCRIPT_TOKENS_PER_SECOND = 8  # twice the rate of fast speech
# vLLM's priorities; lower values run first. Unlike in admission, prefill precedes transcriptions,
# because it serves a user who is speaking now.
PRIORITY = {RequestKind.REPLY: 0, RequestKind.PREFILL: 1, RequestKind.TRANSCRIPTION: 2}


@dataclass(frozen=True, slots=True)
class SharedResources:
    """The resources shared by all sessions of an engine.

    context_tokens      maximum number of tokens of a prompt and its reply together
    transcription_lock  held by a running transcription; vLLM has one spare sequence for them
    """

    runtime: VllmRuntime
    prompt_format: Llama3Format
    admission: KVAdmission
    probe: ModelProbe
    metrics: LLMMetrics
    config: LLMConfig
    context_tokens: int
    transcription_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class VllmSession:
    """`LLMSession` of the vLLM engine."""

    def __init__(self, shared: SharedResources) -> None:
        self._shared = shared
        self._config = shared.config
        self._clips = SessionClips(shared.config)
        self._cache_salt = ""
        self._prefilling: asyncio.Timeout | None = None
        self._timer: GenerationTimer | None = None  # of the latest reply
        self._closed = asyncio.Event()
        self._today = shared.config.today or f"{datetime.date.today():%d %b %Y}"

    def begin(self, utterance: int) -> None:
        """Begin an utterance."""
        self._clips.begin(utterance)

    def add_audio(self, utterance: int, pcm: bytes) -> None:
        """Add audio to an utterance. Raises BadRequest for an unknown utterance."""
        self._clips.clip(utterance).add(pcm)

    def end(self, utterance: int) -> None:
        """Mark an utterance as complete."""
        self._clips.end(utterance)

    def forget(self, utterance: int) -> None:
        """Drop an utterance that will not be used again."""
        self._clips.forget(utterance)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate a reply. Raises BadRequest, EngineBusy and EngineFailed."""
        self._stop_prefill()
        self._timer = timer = GenerationTimer(NAME, self._shared.metrics, request.speculative)
        reply = self._reply(request, timer)
        async with contextlib.aclosing(timer.track(reply)) as pieces:
            async for piece in pieces:
                yield piece

    def confirm(self) -> None:
        """Observe the times of the running reply. vLLM decodes all replies with one priority."""
        if self._timer is not None:
            self._timer.confirm()

    async def transcribe(self, *utterances: int) -> str:
        """Return the transcript of a question that was spoken in these utterances."""
        utterance = self._clips.join(*utterances)
        clip = self._clips.clip(utterance)
        if clip.classify() != "speech":
            return ""
        max_tokens = MIN_TRANSCRIPT_TOKENS + int(clip.seconds * TRANSCRIPT_TOKENS_PER_SECOND)
        prompt = self._build_prompt([ChatMessage("user", TRANSCRIBE, utterance)], (), max_tokens)
        while True:
            try:
                return await self._transcribe(prompt, max_tokens)
            except Displaced:
                pass  # wait again until the replies have finished

    async def prefill(
        self,
        conversation: tuple[ChatMessage, ...],
        tools: tuple[Tool, ...] = (),
        background: bool = False,
    ) -> None:
        """Prefill the conversation. A later `prefill` or `generate` stops it.

        A question whose last utterance has not ended is omitted: whenever it grows, it becomes a
        new clip, and the model has to encode the entire clip again before the reply. So there is
        nothing to do in the background while the user is speaking: the other messages were
        prefilled before.
        """
        if background and conversation and self._clips.is_open(conversation[-1]):
            return
        self._stop_prefill()
        self._prefilling = timeout = asyncio.timeout(None)
        if conversation and self._clips.is_open(conversation[-1]):
            conversation = conversation[: -len(last_question(conversation))]
        try:
            async with timeout:
                prompt = self._build_prompt(conversation, tools, self._config.reply_tokens)
                steps = self._decode(prompt, 1, 0.0, RequestKind.PREFILL)
                async with contextlib.aclosing(steps):
                    async for _ in steps:
                        pass
        except (Displaced, EngineBusy):
            return  # other requests need the tokens
        except TimeoutError:
            if not timeout.expired():
                raise
        finally:
            if self._prefilling is timeout:
                self._prefilling = None

    async def close(self) -> None:
        """Abort all work and free the session's resources."""
        self._closed.set()
        self._stop_prefill()
        self._clips.clear()

    async def _reply(
        self, request: GenerateRequest, timer: GenerationTimer
    ) -> AsyncGenerator[Chunk, None]:
        conversation, tools = request.conversation, request.tools
        if not conversation or conversation[-1].role not in ("user", "tool"):
            raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
        question = self._clips.join_parts(last_question(conversation))
        if not self._clips.has_content(question[-1]):
            timer.mark_understood(has_speech=False)
            yield Result("nothing_heard", timer.stats)
            return
        prompt = self._build_prompt(conversation, tools, request.max_tokens)
        parser = ReplyParser(tools, self._config.noise_reply)
        reason: FinishReason = "stop"
        steps = self._decode_measured(prompt, request.max_tokens, request.temperature, timer)
        async with contextlib.aclosing(steps):
            async for step in steps:
                reason = "length" if step.finish_reason == "length" else "stop"
                if text := parser.feed(step.text):
                    yield text
                if parser.is_looping:
                    reason = "stop"
                    break
        if self._closed.is_set():
            return
        end = parser.finish()
        if end.text:
            yield end.text
        if end.noise:
            reason = "nothing_heard"
        if end.call is not None:
            yield end.call
            reason = "tool_call"
        yield Result(reason, timer.stats)

    async def _transcribe(self, prompt: Prompt, max_tokens: int) -> str:
        """Decode a transcript. Raises Displaced if a reply needs the tokens."""
        parser, text = ReplyParser((), self._config.noise_reply), ""
        steps = self._decode(prompt, max_tokens, 0.0, RequestKind.TRANSCRIPTION)
        async with self._shared.transcription_lock, contextlib.aclosing(steps):
            async for step in steps:
                text += parser.feed(step.text)
                if parser.is_looping:
                    break
        return (text + parser.finish().text).strip()

    async def _decode_measured(
        self, prompt: Prompt, max_tokens: int, temperature: float, timer: GenerationTimer
    ) -> AsyncGenerator[DecodeStep, None]:
        """Decode a reply and measure it."""
        metrics, stats = self._shared.metrics, timer.stats
        timer.mark_understood(has_speech=bool(prompt.clips))
        stats |= {"prompt_tokens": prompt.length, "cached_tokens": 0, "decode_tokens": 0}
        metrics.prompt_tokens.inc(prompt.length)
        steps = self._decode(prompt, max_tokens, temperature, RequestKind.REPLY)
        async with contextlib.aclosing(steps):
            async for step in steps:
                if not stats["decode_tokens"]:
                    stats["cached_tokens"] = step.cached
                    timer.mark_first_token()
                    metrics.cached_tokens.inc(step.cached)
                stats["decode_tokens"] += len(step.tokens)
                yield step

    async def _decode(
        self, prompt: Prompt, max_tokens: int, temperature: float, kind: RequestKind
    ) -> AsyncGenerator[DecodeStep, None]:
        """Pass a request through admission to vLLM. Stops early if the session is closed.

        Raises BadRequest, EngineBusy, EngineFailed, and Displaced unless it is a reply.
        """
        shared = self._shared
        request = self._decode_request(prompt, max_tokens, temperature, kind)
        async with shared.admission.hold(prompt.length + max_tokens, kind):
            steps = shared.runtime.generate(request)
            async with contextlib.aclosing(steps):
                async for step in steps:
                    if self._closed.is_set() or step.finish_reason == "abort":
                        return
                    if not step.is_finite:
                        self._distrust_cache()
                        raise EngineFailed(engine=NAME)
                    shared.probe.note_reply()
                    yield step

    def _decode_request(
        self, prompt: Prompt, max_tokens: int, temperature: float, kind: RequestKind
    ) -> DecodeRequest:
        return DecodeRequest(
            prompt.tokens,
            tuple(self._clips.name_and_samples(utterance) for utterance in prompt.clips),
            max_tokens,
            temperature,
            stop_tokens=self._shared.prompt_format.stop_tokens,
            priority=PRIORITY[kind],
            cache_salt=self._cache_salt,
        )

    def _distrust_cache(self) -> None:
        """Handle NaN in the output: either the model or this session's cache is broken.

        The session's cached data is not used again, and the probe checks the model.
        """
        self._cache_salt = secrets.token_hex(8)
        self._clips.rename_all()
        self._shared.probe.suspect()

    def _build_prompt(
        self, conversation: Sequence[ChatMessage], tools: Sequence[Tool], max_tokens: int
    ) -> Prompt:
        """Build the prompt, leaving room for a reply of `max_tokens` tokens."""
        conversation = self._clips.join_parts(conversation)
        clip_tokens = self._clips.count_tokens(conversation)
        limit = self._shared.context_tokens - max_tokens
        return self._shared.prompt_format.build_prompt(
            conversation, tools, self._today, clip_tokens, limit
        )

    def _stop_prefill(self) -> None:
        if self._prefilling is not None:
            self._prefilling.reschedule(asyncio.get_running_loop().time())
        self._prefilling = None
