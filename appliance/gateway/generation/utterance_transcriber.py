"""Asks the engine for the words of a voice that may interrupt the bot.

turns/interruption_gate.py decides from them whether it does. Until then nothing is shown,
remembered or counted as a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipecat.frames.frames import Frame

from appliance.errors import EngineFailed
from appliance.gateway.frames import UtteranceTranscriptFrame
from appliance.link.client import EngineClient
from appliance.link.utterance import Utterance
from appliance.tasks import cancel, spawn


class UtteranceTranscriber:
    """Answers the TranscribeUtteranceFrames of one session. `push` sends a frame upstream."""

    def __init__(self, client: EngineClient, push: Callable[[Frame], Awaitable[None]]) -> None:
        self._client = client
        self._push = push
        self._task: asyncio.Task[None] | None = None

    async def transcribe(self, request: int, utterance: Utterance | None) -> None:
        """Begin to transcribe. The request replaces the previous one."""
        await self.close()
        self._task = spawn(self._run(request, utterance), "interruption transcript")

    async def close(self) -> None:
        """Drop the request in progress."""
        if self._task is not None:
            await cancel(self._task)
            self._task = None

    async def _run(self, request: int, utterance: Utterance | None) -> None:
        text: str | None = ""
        if utterance is not None:
            try:
                text = await self._client.transcribe(utterance.id)
            except EngineFailed:
                text = None  # the turn that starts now reports the failure
        await self._push(UtteranceTranscriptFrame(request, text))
