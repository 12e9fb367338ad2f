"""The language model and the thread it runs in, shared by all callers.

A caller asks for one small piece of work at a time, so callers take turns, and one who waits keeps
nothing busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from pathlib import Path

from appliance.engines.llm.small.chat import ChatFormat
from appliance.engines.llm.small.llama import Abort, LanguageModel, Logits
from appliance.engines.llm.small.worker import Urgency, Worker
from appliance.errors import EngineFailed


class Answering:
    """Runs prompts in a thread of its own; `owner` is the session whose cache is meant."""

    def __init__(self) -> None:
        self._worker = Worker("answering")
        self._model: LanguageModel | None = None

    async def load(self, path: Path, threads: int, context_tokens: int, slots: int) -> None:
        """Loads the model. Raises MissingWeights, UnreadableModel or UnknownLlama."""
        self._model = model = await self._worker.run(
            Urgency.GENERATE, lambda: LanguageModel(path, threads, context_tokens, slots)
        )
        self.format = ChatFormat(model)

    async def stop(self) -> None:
        """Frees the model and ends the thread."""
        if self._model is not None:
            await self._worker.run(Urgency.CLOSE, self._model.close)
            self._model = None
        await asyncio.to_thread(self._worker.stop)

    @property
    def model(self) -> LanguageModel:
        """The language model. Raises EngineFailed before `load` and after `stop`."""
        if self._model is None:
            raise EngineFailed(engine="llm")
        return self._model

    async def prefill(
        self, owner: Hashable, tokens: list[int], urgency: Urgency, abort: Abort
    ) -> Logits | None:
        """Runs what the cache lacks of `tokens`, batch by batch; None when aborted."""
        model = self.model
        while True:
            step = await self._worker.run(urgency, lambda: model.advance(owner, tokens, abort))
            if step is None:
                return None
            if step.logits is not None:
                return step.logits

    async def cached(self, owner: Hashable, tokens: list[int], urgency: Urgency) -> int:
        """How many of the tokens need not be run."""
        model = self.model
        return await self._worker.run(urgency, lambda: model.cached(owner, tokens))

    async def release(self, owner: Hashable) -> None:
        """Forgets what is cached for `owner`."""
        model = self.model
        await self._worker.run(Urgency.GENERATE, lambda: model.release(owner))
