"""The speech-LLM of the `cpu` profile: a recognizer and a small instruct model behind the
interface of the real Ultravox.

One thread hears, one thread answers, for all callers.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from appliance import journal
from appliance.engines.llm.metrics import EngineMeters
from appliance.engines.llm.small.hearing import Hearing
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.engines.llm.small.session import NAME, Answering, SmallSession
from appliance.engines.llm.small.worker import Urgency, Worker
from appliance.errors import BadSetting, MissingWeights
from appliance.link.engine import Turn
from appliance.settings import LLMConfig, Settings

FALLBACK = "smollm2-135m-instruct"
LANGUAGE = "en"  # of the recognizer and the voices
WEIGHTS = "model.gguf"
log = journal.get()


class SmallEngine:
    """`SpeechEngine` on any machine: Moonshine hears, a GGUF model answers."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.meters = EngineMeters()
        self.answering = Answering()
        self._listening = Worker("hearing")

    async def start(self) -> None:
        """Loads both models and lets each do something, so that the first caller need not wait.

        Raises CannotStart.
        """
        given, began = self._settings.llm, time.monotonic()
        if given.language != LANGUAGE:
            why = f"the models of the cpu profile know {LANGUAGE!r} only, not {given.language!r}"
            raise BadSetting(name="llm.language", why=why)
        folder = model_folder(self._settings.paths.weights, given.model)
        if folder.name != given.model:
            log.warning("language model replaced by its fallback", model=folder.name)
        hearing = recognizer_folder(self._settings.paths.weights, given.hearing_model)
        slots = self._settings.gateway.max_sessions
        _, recognizer = await asyncio.gather(
            self.answering.load(folder / WEIGHTS, given.threads, given.context_tokens, slots),
            self._listening.run(
                Urgency.GENERATE, lambda: Moonshine(hearing, given.hearing_threads)
            ),
        )
        self._hearing = Hearing(self._listening, recognizer.hear)
        await self._listening.run(
            Urgency.GENERATE, lambda: recognizer.hear(np.zeros(16_000, np.float32))
        )
        session = self.open()
        await session.warm((Turn("system", given.system_prompt), Turn("user", "Hello.")))
        await session.close()
        log.info("language model ready", model=folder.name, load_seconds=time.monotonic() - began)

    async def stop(self) -> None:
        """Frees the models."""
        await self.answering.stop()
        await asyncio.to_thread(self._listening.stop)

    async def died(self) -> None:
        """Never: the model lives and dies with this process."""
        await asyncio.Event().wait()

    def metrics(self) -> bytes:
        """Prometheus text format."""
        return self.meters.render()

    def open(self) -> SmallSession:
        """A new caller, once `start` is done."""
        return SmallSession(self.answering, self._hearing, self.meters, self._settings.llm)


def model_folder(weights: Path, wanted: str) -> Path:
    """The folder of the model to use; where the default one is missing, its fallback's.

    Raises BadSetting for a name that is none of the models there, MissingWeights when none is.
    """
    there = sorted(path.parent.name for path in weights.glob(f"*/{WEIGHTS}"))
    if wanted in there:
        return weights / wanted
    if wanted == LLMConfig().model and FALLBACK in there:
        return weights / FALLBACK
    if wanted == LLMConfig().model or not there:
        raise MissingWeights(path=weights / wanted / WEIGHTS)
    raise BadSetting(name="llm.model", why=f"{wanted!r} is none of {there}")


def recognizer_folder(weights: Path, wanted: str) -> Path:
    """The recognizer's folder. Raises BadSetting for one that was asked for and is not there."""
    folder = weights / wanted
    if wanted != LLMConfig().hearing_model and not folder.is_dir():
        raise BadSetting(name="llm.hearing_model", why=f"there is no folder {folder}")
    return folder
