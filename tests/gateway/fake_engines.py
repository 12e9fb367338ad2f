"""Instant engines behind real unix sockets, with scripted replies."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from appliance.link.engine import ChatMessage
from appliance.link.protocol import HealthReport
from appliance.link.server import AnyEngine, serve_link
from tests.fakes import echo
from tests.fakes.engines import Reply


class EngineProcess:
    """Fake engine process. Serves the engine link and can be killed and restarted."""

    def __init__(self, engine: AnyEngine, run: Path) -> None:
        self._engine = engine
        self._path = run / f"{engine.name}.sock"
        self._serving: contextlib.AsyncExitStack | None = None
        self.ready = True

    async def start(self) -> None:
        self._serving = contextlib.AsyncExitStack()
        status = lambda: HealthReport(ready=self.ready, waiting_for=self._engine.name)  # noqa: E731
        await self._serving.enter_async_context(serve_link(self._path, status, self._engine))

    async def kill(self) -> None:
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await serving.aclose()


class ScriptedLLM:
    """Scripted replies of the LLM engine, and a record of its requests. The last reply repeats.

    conversations  the turns of each request
    utterances     the audio that the engine held at each request, by utterance number
    """

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.conversations: list[list[ChatMessage]] = []
        self.utterances: list[dict[int, bytes]] = []

    def __call__(self, conversation: Sequence[ChatMessage], utterances: dict[int, bytes]) -> Reply:
        self.conversations.append(list(conversation))
        self.utterances.append(dict(utterances))
        if not self._replies:
            return echo(conversation, utterances)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def conversation(self, number: int) -> list[tuple[str, str, bool]]:
        """Return the turns of one request as (role, text, is audio)."""
        return [(t.role, t.text, t.utterance is not None) for t in self.conversations[number]]
