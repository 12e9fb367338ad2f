"""The engine of the `cpu` profile: a speech recognizer and a small instruct model.

Each model runs in one thread, which all sessions share.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from appliance import journal
from appliance.engines.llm import NAME
from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.small.llama import AsyncLanguageModel
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.engines.llm.small.pacing import PaceLimits
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.recognition import Transcriber
from appliance.engines.llm.small.session import SmallSession
from appliance.engines.llm.small.worker import WorkerThread
from appliance.errors import BadSetting, MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE, Turn
from appliance.settings import LLMConfig, Settings, parse_examples

WEIGHTS = "model.gguf"
log = journal.get()


class SmallEngine:
    """`LLMEngine` that needs no GPU: Moonshine transcribes, a GGUF model answers."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.llm_metrics = LLMMetrics()
        self.language_model = AsyncLanguageModel()
        self._recognizer_thread = WorkerThread("moonshine")

    async def start(self) -> None:
        """Load both models and warm them up. Raises CannotStart."""
        config, started = self._settings.llm, time.monotonic()
        weights = self._settings.paths.weights
        folder = find_model(weights, config.model)
        recognizer_folder = find_recognizer(weights, config.hearing_model)
        slots = self._settings.gateway.max_sessions
        _, recognizer = await asyncio.gather(
            self.language_model.load(
                folder / WEIGHTS,
                config.threads,
                config.context_tokens,
                slots,
                example_turns(config.examples),
            ),
            self._recognizer_thread.run(
                JobPriority.GENERATE,
                lambda: Moonshine(recognizer_folder, config.hearing_threads),
            ),
        )
        self._transcriber = Transcriber(self._recognizer_thread, recognizer.recognize)
        await self._recognizer_thread.run(
            JobPriority.GENERATE,
            lambda: recognizer.recognize(np.zeros(INPUT_SAMPLE_RATE, np.float32)),
        )
        session = self.open()
        await session.warm((Turn("system", config.system_prompt),))
        await self.language_model.keep_snapshot(session)
        await session.warm((Turn("system", config.system_prompt), Turn("user", "Hello.")))
        await session.close()
        log.info("language model ready", model=folder.name, load_seconds=time.monotonic() - started)

    async def stop(self) -> None:
        """Free the models."""
        await self.language_model.stop()
        await asyncio.to_thread(self._recognizer_thread.stop)

    async def died(self) -> None:
        """Never returns, because the models run in this process."""
        await asyncio.Event().wait()

    def metrics(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return self.llm_metrics.render()

    def open(self) -> SmallSession:
        """Open a session. Call only after `start` has returned."""
        return SmallSession(
            self.language_model,
            self._transcriber,
            self.llm_metrics,
            self._settings.llm,
            PaceLimits.of(self._settings.tts),
        )


def example_turns(text: str) -> list[Turn]:
    """Return the setting `llm.examples` as turns of a conversation."""
    return [
        turn
        for question, answer in parse_examples(text)
        for turn in (Turn("user", question), Turn("assistant", answer))
    ]


def find_model(weights: Path, name: str) -> Path:
    """Return the folder of the language model `name`.

    Raises MissingWeights if no model is installed or the missing model is the default. Raises
    BadSetting if another missing model is configured.
    """
    installed = sorted(path.parent.name for path in weights.glob(f"*/{WEIGHTS}"))
    if name in installed:
        return weights / name
    if name == LLMConfig().model or not installed:
        raise MissingWeights(path=weights / name / WEIGHTS)
    why = f"{name!r} is not installed; the installed models are {', '.join(installed)}"
    raise BadSetting(name="llm.model", why=why)


def find_recognizer(weights: Path, name: str) -> Path:
    """Return the folder of the speech recognizer `name`.

    Raises BadSetting if the recognizer is not the default and its folder is missing. Moonshine
    itself reports missing files of the default recognizer.
    """
    folder = weights / name
    if name != LLMConfig().hearing_model and not folder.is_dir():
        raise BadSetting(name="llm.hearing_model", why=f"the folder {folder} does not exist")
    return folder
