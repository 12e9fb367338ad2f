"""The engine of the `cpu` profile: a speech recognizer and a small instruct model.

Each model runs in one thread, which all sessions share.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from appliance import journal
from appliance.engines.llm import NAME
from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.small.llama_thread import AsyncLanguageModel
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.engines.llm.small.pacing import PaceLimits
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.recognition import filter_words
from appliance.engines.llm.small.session import SmallSession
from appliance.engines.llm.small.short_words import VotingRecognizer
from appliance.engines.llm.small.transcriber import Recognize, Transcriber
from appliance.engines.llm.small.worker import WorkerThread
from appliance.errors import BadSetting, MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE, ChatMessage, Tool
from appliance.settings import LLMConfig, Settings, parse_examples

WEIGHTS = "model.gguf"
log = journal.get()


class SmallEngine:
    """`LLMEngine` for CPUs: Moonshine and Whisper transcribe, a GGUF model answers."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.llm_metrics = LLMMetrics()
        self.language_model = AsyncLanguageModel()
        self._recognizer_thread = WorkerThread("moonshine")
        self._tools: tuple[Tool, ...] = ()

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
                parse_examples(config.examples),
            ),
            self._recognizer_thread.run(
                JobPriority.GENERATE,
                lambda: Moonshine(recognizer_folder, config.hearing_threads),
            ),
        )
        recognize = await self._recognizer_thread.run(
            JobPriority.GENERATE, lambda: with_short_recognizer(recognizer, weights, config)
        )
        self._transcriber = Transcriber(self._recognizer_thread, recognize)
        await self._recognizer_thread.run(
            JobPriority.GENERATE,
            lambda: recognize(np.zeros(INPUT_SAMPLE_RATE, np.float32), lambda: False),
        )
        # The beginning of every prompt takes seconds to read, so no call should wait for it.
        self._tools = await list_tools(config.tools)
        session, system = self.open(), ChatMessage("system", config.system_prompt)
        await session.prefill((system,))
        await self.language_model.keep_snapshot(session)
        await session.prefill((system, ChatMessage("user", "Hello.")))
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
            self._tools,
        )


async def list_tools(names: Sequence[str]) -> tuple[Tool, ...]:
    """Return the definitions of the tools, as the gateway will offer them.

    They come from the gateway's code in a process of its own, because its libraries do not belong
    into this process. Without them the first prompt of a call takes longer, so a failure (such as
    an unknown tool, which the gateway reports itself) is only logged.
    """
    if not names:
        return ()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "appliance", "tools", *names, stdout=PIPE, stderr=DEVNULL
    )
    output, _ = await process.communicate()
    try:
        return TypeAdapter(tuple[Tool, ...]).validate_json(output)
    except ValidationError:
        log.warning("tools not in the prompt yet", exit_code=process.returncode)
        return ()


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


def with_short_recognizer(live: Moonshine, weights: Path, config: LLMConfig) -> Recognize:
    """Return what recognizes speech: `live`, or both recognizers if one for short speech is set.

    Raises BadSetting if it is not the default and its folder is missing. Raises MissingWeights if a
    file of it is missing.
    """
    if not config.short_recognizer:
        return live.recognize
    folder = weights / config.short_recognizer
    if config.short_recognizer != LLMConfig().short_recognizer and not folder.is_dir():
        raise BadSetting(name="llm.short_recognizer", why=f"the folder {folder} does not exist")
    # Imported only here, because it needs onnx, which takes memory.
    from appliance.engines.llm.small.whisper import Whisper

    short = Whisper(folder, config.hearing_threads)
    return VotingRecognizer(live, short, lambda heard: not filter_words(heard)).recognize
