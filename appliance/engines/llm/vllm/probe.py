"""Check that the model's output still matches the output at startup.

A process that passes health checks may contain a model that no longer works. A NaN in vLLM's cache
stays there until it is overwritten, and a request that reuses those cache blocks generates only
token 0 (observed with vLLM 0.32 on a CPU). Therefore, the session checks that the logprobs of every
reply are finite. In addition, the probe repeats the same request from time to time and compares the
log-probabilities of the first token with a baseline.

The values may differ slightly, because a GPU may add numbers in a different order when it processes
other requests at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from appliance import journal
from appliance.engines.llm import NAME
from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.vllm.audio import count_audio_tokens
from appliance.engines.llm.vllm.prompt import Llama3Format
from appliance.engines.llm.vllm.runtime import DecodeRequest, VllmRuntime
from appliance.errors import EngineFailed
from appliance.link.engine import INPUT_SAMPLE_RATE, ChatMessage

QUESTION = (
    ChatMessage("system", "Answer truthfully."),
    ChatMessage("user", "What is said here?", utterance=0),
)
TODAY = "26 Jul 2024"
CONTEXT_TOKENS = 1000
REPLY_TOKENS = 4
CANDIDATES = 5  # most likely tokens of the baseline, whose log-probabilities are compared
PROBE_LOGPROBS = 64  # most likely tokens of a later reply, which must include the candidates
TOLERANCE = 0.5  # maximum difference of a log-probability
# The model may fail in one session because of that session's cached KV blocks. After a second
# failure, the model is considered unhealthy even if the probe succeeds.
MAX_SUSPICIONS = 2
IDLE_SECONDS = 30.0  # the model is probed after this time without a reply
ANSWER_SECONDS = 30.0  # after this time without a reply, the model is considered hung
log = journal.get()


class ModelProbe:
    """Repeats a request and compares the reply with a baseline."""

    def __init__(
        self, runtime: VllmRuntime, prompt_format: Llama3Format, metrics: LLMMetrics
    ) -> None:
        clip = synthesize_vowel()
        prompt = prompt_format.build_prompt(
            QUESTION, (), TODAY, {0: count_audio_tokens(len(clip))}, CONTEXT_TOKENS
        )
        self._request = DecodeRequest(
            prompt.tokens,
            (("probe", clip),),
            REPLY_TOKENS,
            stop_tokens=prompt_format.stop_tokens,
            logprobs=PROBE_LOGPROBS,
        )
        self._runtime = runtime
        self._metrics = metrics
        self._numbers = itertools.count()
        self._baseline: dict[int, float] = {}
        self._suspected = asyncio.Event()
        self._suspicions = 0
        self._last_reply = time.monotonic()

    def note_reply(self) -> None:
        """Record that the model has just produced valid output, which postpones the next probe."""
        self._last_reply = time.monotonic()

    def suspect(self) -> None:
        """Record that the model's output was invalid, and probe the model now."""
        self._suspicions += 1
        self._suspected.set()

    async def record_baseline(self) -> None:
        """Record the baseline. Raises EngineFailed if there is no valid reply."""
        logprobs = await self._request_logprobs()
        if logprobs is None:
            raise EngineFailed(engine=NAME)
        largest = sorted(logprobs, key=lambda token: -logprobs[token])[:CANDIDATES]
        self._baseline = {token: logprobs[token] for token in largest}

    async def is_healthy(self) -> bool:
        """Probe the model now and return the result."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                logprobs = await self._request_logprobs()
        except (TimeoutError, EngineFailed):
            logprobs = None
        healthy = logprobs is not None and is_close(self._baseline, logprobs)
        self._metrics.probes.labels("healthy" if healthy else "sick").inc()
        return healthy

    async def wait_until_unhealthy(self) -> None:
        """Probe the model when it is idle or suspected. Return when it is unhealthy."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._suspected.wait()
            except TimeoutError:
                if time.monotonic() - self._last_reply < IDLE_SECONDS:
                    continue
            self._suspected.clear()
            if not await self.is_healthy() or self._suspicions >= MAX_SUSPICIONS:
                log.error("model output does not match the baseline", engine=NAME)
                return

    async def _request_logprobs(self) -> dict[int, float] | None:
        """Return the log-probabilities of the first token; None if the output is not finite.

        The caches of earlier probes are not used, because they would hide a model that is broken
        now.
        """
        number = next(self._numbers)
        clips = tuple((f"{name}-{number}", samples) for name, samples in self._request.clips)
        request = replace(self._request, cache_salt=f"probe-{number}", clips=clips)
        steps = [step async for step in self._runtime.generate(request)]
        if not all(step.is_finite for step in steps) or not steps[0].logprobs:
            return None
        return steps[0].logprobs[0]


def is_close(baseline: Mapping[int, float], logprobs: Mapping[int, float]) -> bool:
    """Return whether every token of the baseline has about the same log-probability."""
    return all(
        abs(logprobs.get(token, -math.inf) - expected) < TOLERANCE
        for token, expected in baseline.items()
    )


def synthesize_vowel() -> Samples:
    """Return one second of a vowel-like sound, which is always the same."""
    time_axis = np.arange(INPUT_SAMPLE_RATE) / INPUT_SAMPLE_RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 3 * time_axis)
    phase = 2 * np.pi * np.cumsum(pitch) / INPUT_SAMPLE_RATE
    voice = sum(np.sin(order * phase) / order for order in range(1, 12))
    return np.asarray(0.1 * voice, np.float32)
