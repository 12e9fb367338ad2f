"""Check that the model still answers as it did when it was started.

A process that answers health checks may hold a model that no longer works. A NaN that enters vLLM's
cache stays there until it is overwritten: a request that is given that part of the cache receives
only token 0 (seen with vLLM 0.32 on a CPU). So the session checks the numbers of every reply, and
the probe asks the model the same question from time to time and compares the probabilities of the
first token.

They may differ slightly, because a GPU adds numbers in another order when it runs other requests at
the same time.
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
from appliance.link.engine import INPUT_SAMPLE_RATE, Turn

QUESTION = (Turn("system", "Answer truthfully."), Turn("user", "What is said here?", utterance=0))
TODAY = "26 Jul 2024"
CONTEXT_TOKENS = 1000
REPLY_TOKENS = 4
CANDIDATES = 5  # likeliest tokens of the baseline, whose probabilities are compared
PROBE_LOGPROBS = 64  # likeliest tokens of a later reply, which must include the candidates
TOLERANCE = 0.5  # of a log-probability
# A model may fail one session because of what is cached for it. After a second failure it is not
# trusted, even if the probe finds it healthy.
MAX_SUSPICIONS = 2
IDLE_SECONDS = 30.0  # without a request for this long, the model is probed
ANSWER_SECONDS = 30.0  # after this long without a reply, the model is taken to hang
log = journal.get()


class ModelProbe:
    """Asks a model the same question again and compares the reply with the first one."""

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
        """The model has just produced valid output, so it need not be probed soon."""
        self._last_reply = time.monotonic()

    def suspect(self) -> None:
        """The model's output cannot be right: probe it now."""
        self._suspicions += 1
        self._suspected.set()

    async def record_baseline(self) -> None:
        """Record the reply to compare with. Raises EngineFailed when there is none."""
        logprobs = await self._ask()
        if logprobs is None:
            raise EngineFailed(engine=NAME)
        largest = sorted(logprobs, key=lambda token: -logprobs[token])[:CANDIDATES]
        self._baseline = {token: logprobs[token] for token in largest}

    async def is_healthy(self) -> bool:
        """Probe the model now."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                logprobs = await self._ask()
        except (TimeoutError, EngineFailed):
            logprobs = None
        healthy = logprobs is not None and is_close(self._baseline, logprobs)
        self._metrics.probes.labels("healthy" if healthy else "sick").inc()
        return healthy

    async def wait_until_sick(self) -> None:
        """Probe the model when it is idle or suspected. Return when it cannot be trusted."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._suspected.wait()
            except TimeoutError:
                if time.monotonic() - self._last_reply < IDLE_SECONDS:
                    continue
            self._suspected.clear()
            if not await self.is_healthy() or self._suspicions >= MAX_SUSPICIONS:
                log.error("model answers wrongly", engine=NAME)
                return

    async def _ask(self) -> dict[int, float] | None:
        """The log-probabilities of the first token; None when the output is not finite.

        Work cached for earlier probes is not used, because it would hide a model that is broken
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
    """Whether every token of the baseline is about as likely as it was."""
    return all(
        abs(logprobs.get(token, -math.inf) - expected) < TOLERANCE
        for token, expected in baseline.items()
    )


def synthesize_vowel() -> Samples:
    """One second of a vowel-like sound, always the same."""
    time_axis = np.arange(INPUT_SAMPLE_RATE) / INPUT_SAMPLE_RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 3 * time_axis)
    phase = 2 * np.pi * np.cumsum(pitch) / INPUT_SAMPLE_RATE
    voice = sum(np.sin(order * phase) / order for order in range(1, 12))
    return np.asarray(0.1 * voice, np.float32)
