"""The vLLM engine with sessions that record token ids and log-probabilities.

Prompts, audio processor, admission and runtime are the production code. The subclasses here change
the number of log-probabilities that vLLM reports, and disable stop tokens and the speech gate,
which would shorten a reply.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.engines.llm.metrics import GenerationTimer
from appliance.engines.llm.vllm.admission import RequestKind
from appliance.engines.llm.vllm.audio import AudioClip, SessionClips, SpeechVerdict
from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.engines.llm.vllm.prompt import Prompt
from appliance.engines.llm.vllm.runtime import DecodeRequest, VllmRuntime
from appliance.engines.llm.vllm.session import SharedResources, VllmSession
from appliance.engines.llm.vllm.stats import VllmStatLogger
from appliance.link.engine import Chunk, FinishReason, GenerateRequest, LLMEngine, Result
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from appliance.settings import Settings

MAX_LOGPROBS = 1024  # per token; vLLM copies them between its processes


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of a reply, and natural log-probabilities by token id, including the token's own."""

    token: int
    logprobs: Mapping[int, float]


class UngatedClip(AudioClip):
    """A clip that always counts as speech, because the reference was recorded with tones."""

    def classify(self) -> SpeechVerdict:
        return "speech"


class UngatedClips(SessionClips):
    """The clips of a session, without the speech gate."""

    def begin(self, utterance: int) -> None:
        super().begin(utterance)
        config = self._config
        self._clips[utterance] = UngatedClip(
            config.min_utterance_seconds, config.max_utterance_seconds
        )


class ScoringSession(VllmSession):
    """A session whose replies have exactly `max_tokens` tokens, which are kept in `scored`."""

    def __init__(self, shared: SharedResources, logprobs: int = 0) -> None:
        """Record the `logprobs` largest log-probabilities besides the token's own."""
        super().__init__(shared)
        self._clips = UngatedClips(shared.config)
        self._logprobs = logprobs
        self.scored: list[ScoredToken] = []

    async def _reply(
        self, request: GenerateRequest, timer: GenerationTimer
    ) -> AsyncGenerator[Chunk, None]:
        self.scored = []
        prompt = self._build_prompt(request.conversation, request.tools, request.max_tokens)
        reason: FinishReason = "stop"
        steps = self._decode_measured(prompt, request.max_tokens, request.temperature, timer)
        async with contextlib.aclosing(steps):
            async for step in steps:
                reason = "length" if step.finish_reason == "length" else "stop"
                self.scored += map(ScoredToken, step.tokens, step.logprobs)
                if step.text:
                    yield step.text
        if not self._closed.is_set():
            yield Result(reason, timer.stats)

    def _decode_request(
        self, prompt: Prompt, max_tokens: int, temperature: float, kind: RequestKind
    ) -> DecodeRequest:
        request = super()._decode_request(prompt, max_tokens, temperature, kind)
        if kind is not RequestKind.REPLY:
            return request
        return replace(request, stop_tokens=(), logprobs=self._logprobs)


class ScoringEngine:
    """A `LLMEngine` that opens scoring sessions of a started engine."""

    def __init__(self, engine: VllmEngine, logprobs: int = 0) -> None:
        self.name = engine.name
        self._engine = engine
        self._logprobs = logprobs
        self.sessions: list[ScoringSession] = []

    async def start(self) -> None:
        """Do nothing: the engine is already running."""

    async def stop(self) -> None:
        """Do nothing: the owner of the engine stops it."""

    async def died(self) -> None:
        """Wait until the engine's model has died."""
        await self._engine.died()

    def metrics(self) -> bytes:
        """Return the engine's metrics."""
        return self._engine.metrics()

    def open(self) -> ScoringSession:
        """Open a session and add it to `sessions`."""
        self.sessions.append(ScoringSession(self._engine._shared, self._logprobs))
        return self.sessions[-1]


class _ScoringRuntime(VllmRuntime):
    async def start(self, arguments: Mapping[str, Any], stat_logger: VllmStatLogger) -> None:
        await super().start({**arguments, "max_logprobs": MAX_LOGPROBS}, stat_logger)


def create_vllm_engine(settings: Settings) -> VllmEngine:
    """Create the production engine with support for MAX_LOGPROBS log-probabilities per token."""
    engine = VllmEngine(settings)
    engine.runtime = _ScoringRuntime()
    return engine


@contextlib.asynccontextmanager
async def serve(engine: LLMEngine) -> AsyncIterator[Path]:
    """Serve an engine on a socket, and return the socket's path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{engine.name}.sock"
        async with serve_link(path, lambda: HealthReport(ready=True), engine):
            yield path
