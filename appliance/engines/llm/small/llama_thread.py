"""The language model of all sessions, in a thread of its own.

Sessions request one step at a time, so they share the model fairly, and a session whose consumer is
slow does not block the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.engines.llm import NAME
from appliance.engines.llm.small.chat import ChatMLFormat
from appliance.engines.llm.small.llama import AbortFlag, AdvanceResult, LanguageModel
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.sampling import Logits
from appliance.engines.llm.small.worker import WorkerThread
from appliance.errors import EngineFailed
from appliance.link.engine import Tool

# Prompt tokens per step by purpose. A step of 16, 32 or 64 tokens takes 0.11, 0.18 or 0.32 s on two
# cores (EPYC, VNNI; the default model), and other sessions wait for its end.
STEP_TOKENS: Final[Mapping[JobPriority, int]] = {JobPriority.BACKGROUND: 16}
DEFAULT_STEP_TOKENS: Final = 32


class AsyncLanguageModel:
    """A LanguageModel in its own thread. `owner` is the session that owns a cache slot."""

    def __init__(self) -> None:
        self._worker = WorkerThread("llama")
        self._model: LanguageModel | None = None

    async def load(
        self,
        path: Path,
        threads: int,
        context_tokens: int,
        slots: int,
        examples: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Load the model. `examples` are part of every prompt.

        Raises MissingWeights, UnreadableModel or UnsupportedLlamaCpp.
        """
        self._model = model = await self._worker.run(
            JobPriority.GENERATE, lambda: LanguageModel(path, threads, context_tokens, slots)
        )
        self.format = ChatMLFormat(model, examples)

    async def stop(self) -> None:
        """Free the model and stop the thread."""
        if self._model is not None:
            await self._worker.run(JobPriority.CLOSE, self._model.close)
            self._model = None
        await asyncio.to_thread(self._worker.stop)

    @property
    def model(self) -> LanguageModel:
        """The language model. Raises EngineFailed before `load` and after `stop`."""
        if self._model is None:
            raise EngineFailed(engine=NAME)
        return self._model

    async def prefill(
        self,
        owner: Hashable,
        tokens: list[int],
        priority: Callable[[], JobPriority],
        abort: AbortFlag,
        is_prompt: bool = False,
    ) -> Logits | None:
        """Process the tokens that are not in the cache. See `LanguageModel.advance`.

        `priority` is called before each step. While more than one step is missing, replies that are
        being played take turns with the steps, because a long prompt takes seconds. In the
        background, each step is followed by a pause of the same length, because the synthesizer may
        need the processor. Returns the scores of the next token, or None if aborted.
        """
        model = self.model
        is_long = False
        while True:
            started, now = time.monotonic(), priority()
            step_tokens = STEP_TOKENS.get(now, DEFAULT_STEP_TOKENS)

            def step(size: int = step_tokens) -> AdvanceResult | None:
                return model.advance(owner, tokens, abort, size, is_prompt)

            step_priority = max(now, JobPriority.DUE_TOKEN) if is_long else now
            result = await self._worker.run(step_priority, step, owner)
            if result is None:
                return None
            if result.logits is not None:
                return result.logits
            is_long = result.missing > step_tokens
            if now is JobPriority.BACKGROUND:
                await asyncio.sleep(time.monotonic() - started)

    def first_tokens(self, tools: Sequence[Tool]) -> list[int]:
        """Return the tokens with which calls of the tools begin."""
        return [self.model.tokenize(tool.name)[0] for tool in tools]

    def supersede(self, owner: Hashable, abort: AbortFlag, tokens: Sequence[int]) -> None:
        """Stop an earlier request of `owner`, because `tokens` will be processed now.

        Its current step is aborted unless it processes a beginning of `tokens`. Then the next
        request waits for the step and finds its tokens in the cache.
        """
        running = self.model.running
        if running is not None and running.helps(owner, tokens):
            abort.set_after_step()
        else:
            abort.set()

    async def cached(self, owner: Hashable, tokens: list[int], priority: JobPriority) -> int:
        """Return the number of tokens that need no processing."""
        model = self.model
        return await self._worker.run(priority, lambda: model.cached(owner, tokens), owner)

    def raise_priority(self, owner: Hashable, priority: JobPriority) -> None:
        """Give the queued steps of `owner` at least this priority."""
        self._worker.raise_priority(owner, priority)

    async def keep_snapshot(self, owner: Hashable) -> None:
        """See `LanguageModel.keep_snapshot`."""
        model = self.model
        await self._worker.run(JobPriority.GENERATE, lambda: model.keep_snapshot(owner))

    async def release(self, owner: Hashable) -> None:
        """Free the cache of `owner`."""
        model = self.model
        await self._worker.run(JobPriority.GENERATE, lambda: model.release(owner))
