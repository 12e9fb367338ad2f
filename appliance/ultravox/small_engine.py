"""The speech-LLM of the `cpu` profile: a recognizer and a small instruct model behind the
interface of the real Ultravox.

One thread hears, one thread answers. A request asks each of them for one small piece of work at a
time, so callers take turns, a consumer who waits keeps nothing busy, and stopping takes no longer
than the piece under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from appliance import journal
from appliance.errors import ApplianceError, BadRequest, EngineFailed, MissingWeights
from appliance.link.engine import Result, Turn
from appliance.settings import Settings
from appliance.ultravox.chat import ChatFormat, filled
from appliance.ultravox.hearing import Hearing
from appliance.ultravox.llama import Abort, LanguageModel, Logits, choose
from appliance.ultravox.measures import EngineMeters
from appliance.ultravox.moonshine import Moonshine
from appliance.ultravox.reply import Reply
from appliance.ultravox.transcript import Transcript
from appliance.ultravox.worker import Urgency, Worker

NAME = "ultravox"
FALLBACK = "smollm2-135m-instruct"
WEIGHTS = "model.gguf"
Reason = Literal["stop", "length", "nothing_heard"]
log = journal.get()


class SmallEngine:
    """`SpeechEngine` on any machine: Moonshine hears, a GGUF model answers."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.meters = EngineMeters()
        self._answering = Worker("answering")
        self._listening = Worker("hearing")
        self._model: LanguageModel | None = None

    async def start(self) -> None:
        """Loads both models and lets each do something, so that the first caller need not wait.

        Raises CannotStart.
        """
        given, began = self._settings.ultravox, time.monotonic()
        folder = model_folder(self._settings.paths.weights, given.model)
        if folder.name != given.model:
            log.warning("the language model is missing, a weaker one answers", model=folder.name)
        slots = self._settings.gateway.max_sessions
        model, recognizer = await asyncio.gather(
            self._answering.run(
                Urgency.GENERATE,
                lambda: LanguageModel(folder / WEIGHTS, given.threads, given.context_tokens, slots),
            ),
            self._listening.run(
                Urgency.GENERATE,
                lambda: Moonshine(
                    self._settings.paths.weights / given.hearing_model, given.hearing_threads
                ),
            ),
        )
        self._model, self.format = model, ChatFormat(model)
        self.hearing = Hearing(self._listening, recognizer.hear)
        await self._listening.run(
            Urgency.GENERATE, lambda: recognizer.hear(np.zeros(16_000, np.float32))
        )
        session = self.open()
        await session.warm([Turn("system", given.system_prompt), Turn("user", "Hello.")])
        await session.close()
        log.info("language model ready", model=folder.name, load_seconds=time.monotonic() - began)

    async def stop(self) -> None:
        """Frees the models."""
        if self._model is not None:
            await self._answering.run(Urgency.CLOSE, self._model.close)
            self._model = None
        await asyncio.to_thread(self._answering.stop)
        await asyncio.to_thread(self._listening.stop)

    def metrics(self) -> bytes:
        """Prometheus text format."""
        return self.meters.render()

    def open(self) -> SmallSession:
        """A new caller."""
        return SmallSession(self, self._settings)

    @property
    def model(self) -> LanguageModel:
        """The language model. Raises EngineFailed before `start` and after `stop`."""
        if self._model is None:
            raise EngineFailed(engine=NAME)
        return self._model

    async def prefill(
        self, owner: SmallSession, tokens: list[int], urgency: Urgency, abort: Abort
    ) -> Logits | None:
        """Runs what the cache lacks of `tokens`, batch by batch; None when aborted."""
        model = self.model
        while True:
            step = await self._answering.run(urgency, lambda: model.advance(owner, tokens, abort))
            if step is None:
                return None
            if step.logits is not None:
                return step.logits

    async def cached(self, owner: SmallSession, tokens: list[int], urgency: Urgency) -> int:
        """How many of the tokens need not be run."""
        model = self.model
        return await self._answering.run(urgency, lambda: model.cached(owner, tokens))

    async def release(self, owner: SmallSession) -> None:
        """Forgets what is cached for `owner`."""
        model = self.model
        await self._answering.run(Urgency.GENERATE, lambda: model.release(owner))


@dataclass(slots=True)
class Request:
    """A reply under way: what was measured, and what stops it."""

    began: float = field(default_factory=time.monotonic)
    abort: Abort = field(default_factory=Abort)
    stats: dict[str, float] = field(default_factory=dict)

    def elapsed(self) -> float:
        """Seconds since the request came."""
        return time.monotonic() - self.began


class SmallSession:
    """`SpeechSession` of one caller."""

    def __init__(self, engine: SmallEngine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings.ultravox
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
        self._engine.hearing.listen(transcript)

    def end(self, utterance: int) -> None:
        """The utterance is complete; there is nothing to do, `generate` hears what is left."""
        self._transcript(utterance)

    def forget(self, utterance: int) -> None:
        """The utterance will not be referred to again."""
        transcript = self._transcripts.pop(utterance, None)
        if transcript is not None:
            transcript.close()

    async def generate(
        self, conversation: Sequence[Turn], max_tokens: int, temperature: float
    ) -> AsyncGenerator[str | Result, None]:
        """Answers the conversation. Raises BadRequest and EngineFailed."""
        self._precede()
        request, meters = Request(), self._engine.meters
        self._running.add(request.abort)
        outcome = "cancelled"
        try:
            with meters.running.track_inprogress():
                answer = self._answer(conversation, max_tokens, temperature, request)
                async with contextlib.aclosing(answer):
                    async for item in answer:
                        if isinstance(item, Result):
                            outcome = item.reason
                        yield item
        except ApplianceError:
            outcome = "failed"
            raise
        except Exception as problem:
            outcome = "failed"
            raise EngineFailed(engine=NAME) from problem
        finally:
            request.abort.set()
            self._running.discard(request.abort)
            meters.requests.labels(outcome).inc()
            meters.decode_tokens.inc(request.stats.get("decode_tokens", 0))

    async def transcribe(self, utterance: int) -> str:
        """What was said in a complete utterance."""
        transcript = self._transcript(utterance)
        return await self._engine.hearing.text(transcript, Urgency.TRANSCRIBE)

    async def warm(self, conversation: Sequence[Turn]) -> None:
        """Hears and runs what is there so far; a later `warm` or `generate` stops it."""
        self._precede()
        self._warming = abort = Abort()
        turns = await self._heard(conversation, Urgency.WARM)
        if turns and not abort:
            room = self._engine.model.context_tokens - self._settings.reply_tokens
            tokens = self._engine.format.prompt(turns, room)
            await self._engine.prefill(self, tokens, Urgency.WARM, abort)

    async def close(self) -> None:
        """The caller left."""
        for abort in self._running:
            abort.set()
        self._precede()
        for utterance in list(self._transcripts):
            self.forget(utterance)
        await self._engine.release(self)

    async def _answer(
        self, conversation: Sequence[Turn], max_tokens: int, temperature: float, request: Request
    ) -> AsyncGenerator[str | Result, None]:
        if not conversation or conversation[-1].role != "user":
            raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
        engine, meters, stats = self._engine, self._engine.meters, request.stats
        turns = await self._heard(conversation, Urgency.GENERATE)
        stats["hearing_seconds"] = request.elapsed()
        if conversation[-1].utterance is not None:
            meters.hearing_seconds.observe(stats["hearing_seconds"])
        if not filled(conversation[-1:], self._texts()):
            yield Result("nothing_heard", stats)
            return

        tokens = engine.format.prompt(turns, engine.model.context_tokens - max_tokens)
        cached = await engine.cached(self, tokens, Urgency.GENERATE)
        stats |= {"prompt_tokens": len(tokens), "cached_tokens": cached, "decode_tokens": 0}
        meters.prompt_tokens.inc(len(tokens))
        meters.cached_tokens.inc(cached)
        reply, random = Reply(), np.random.default_rng()
        reason: Reason = "length"
        while stats["decode_tokens"] < max_tokens:
            logits = await engine.prefill(self, tokens, Urgency.GENERATE, request.abort)
            if logits is None:
                return  # The session was closed.
            token = choose(logits, temperature, random)
            if not stats["decode_tokens"]:
                stats["first_token_seconds"] = request.elapsed()
                stats["prompt_seconds"] = request.elapsed() - stats["hearing_seconds"]
                meters.first_token_seconds.observe(stats["first_token_seconds"])
            stats["decode_tokens"] += 1
            if engine.model.is_control(token):
                reason = "stop"
                break
            tokens.append(token)
            if text := reply.add(engine.model.piece(token)):
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
                await self._engine.hearing.text(self._transcript(turn.utterance), urgency)
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


def model_folder(weights: Path, wanted: str) -> Path:
    """The folder of the model to use: the wanted one, else the fallback. Raises MissingWeights."""
    for name in (wanted, FALLBACK):
        if (weights / name / WEIGHTS).is_file():
            return weights / name
    raise MissingWeights(path=weights / wanted / WEIGHTS)
