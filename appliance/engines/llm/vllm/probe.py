"""Whether the model still answers as it did when it was started.

A process that answers health checks may hold a model that no longer works. A NaN that gets into
vLLM's cache stays there: whoever is given that part of it later is answered token 0, until it is
written over (seen with vLLM 0.32 on a CPU). So every reply's numbers are looked at, and the model
is asked the same question now and then, of which the first token's probabilities are compared.

They may differ a little: in company, a GPU adds numbers up in another order.
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
from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.metrics import EngineMeters
from appliance.engines.llm.vllm.prompt import Llama3Format, audio_tokens
from appliance.engines.llm.vllm.runtime import Ask, Runtime, Step
from appliance.errors import EngineFailed
from appliance.link.engine import INPUT_SAMPLE_RATE, Turn

QUESTION = (Turn("system", "Answer truthfully."), Turn("user", "What is said here?", utterance=0))
TODAY = "26 Jul 2024"
TOKENS = 4
CANDIDATES = 5  # of the first answer, whose probabilities are compared
LOOKED_AT = 64  # of a later answer, among which they have to be
TOLERANCE = 0.5  # of a log-probability
SUSPICIONS = 2  # a model may fail one caller; after another it is not trusted, whatever it answers
IDLE_SECONDS = 30.0  # without a request for so long, the model is asked
ANSWER_SECONDS = 30.0  # a model that has not answered by then hangs
log = journal.get()


class Probe:
    """Asks the same question of a runtime; the first answer is the one to compare with."""

    def __init__(self, runtime: Runtime, form: Llama3Format, meters: EngineMeters) -> None:
        clip = sound()
        prompt = form.prompt(QUESTION, (), TODAY, {0: audio_tokens(len(clip))}, 1000)
        self._ask = Ask(
            prompt.tokens, (("probe", clip),), TOKENS, stops=form.stops, logprobs=LOOKED_AT
        )
        self._runtime = runtime
        self._meters = meters
        self._numbers = itertools.count()
        self._known: dict[int, float] = {}
        self._suspected = asyncio.Event()
        self._suspicions = 0
        self._last_use = time.monotonic()

    def used(self) -> None:
        """The model has just answered somebody, so it need not be asked soon."""
        self._last_use = time.monotonic()

    def suspect(self) -> None:
        """Something of what the model answered cannot be right: ask it now."""
        self._suspicions += 1
        self._suspected.set()

    async def learn(self) -> None:
        """Asks for the answer to compare with. Raises EngineFailed when there is none."""
        first = await self._first()
        if first is None:
            raise EngineFailed(engine="llm")
        largest = sorted(first, key=lambda token: -first[token])[:CANDIDATES]
        self._known = {token: first[token] for token in largest}

    async def healthy(self) -> bool:
        """Asks now."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                first = await self._first()
        except (TimeoutError, EngineFailed):
            first = None
        well = first is not None and alike(self._known, first)
        self._meters.probes.labels("healthy" if well else "sick").inc()
        return well

    async def sick(self) -> None:
        """Asks when the model was idle or is suspected; returns when it is not to be trusted."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._suspected.wait()
            except TimeoutError:
                if time.monotonic() - self._last_use < IDLE_SECONDS:
                    continue
            self._suspected.clear()
            if not await self.healthy() or self._suspicions >= SUSPICIONS:
                log.error("model answers wrongly", engine="llm")
                return

    async def _first(self) -> dict[int, float] | None:
        """The first token's log-probabilities; None when numbers are none.

        What was computed for earlier probes is not used: it would hide what is wrong now.
        """
        number = next(self._numbers)
        ask = replace(self._ask, salt=f"probe-{number}", clips=_named(self._ask, number))
        steps: list[Step] = [step async for step in self._runtime.ask(ask)]
        if not all(step.sound for step in steps) or not steps[0].logprobs:
            return None
        return steps[0].logprobs[0]


def alike(known: Mapping[int, float], now: Mapping[int, float]) -> bool:
    """Whether all that was likely is about as likely now."""
    return all(abs(now.get(token, -math.inf) - was) < TOLERANCE for token, was in known.items())


def sound() -> Samples:
    """A second of something like a vowel; the same every time."""
    time_axis = np.arange(INPUT_SAMPLE_RATE) / INPUT_SAMPLE_RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 3 * time_axis)
    phase = 2 * np.pi * np.cumsum(pitch) / INPUT_SAMPLE_RATE
    voice = sum(np.sin(order * phase) / order for order in range(1, 12))
    return np.asarray(0.1 * voice, np.float32)


def _named(ask: Ask, number: int) -> tuple[tuple[str, Samples], ...]:
    return tuple((f"{name}-{number}", samples) for name, samples in ask.clips)
