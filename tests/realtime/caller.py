"""What the callers of OpenAI's Python SDKs share: their events, and a microphone."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from tests.gateway.simulated_client import TIMEOUT_SECONDS

PIECE_SECONDS = 0.04
PIECE_BYTES = int(24_000 * PIECE_SECONDS) * 2


def to_24_khz(pcm: bytes) -> bytes:
    """Return 16 kHz mono int16 PCM at the rate of the Realtime protocol."""
    resampled = soxr.resample(np.frombuffer(pcm, dtype="<i2"), 16_000, 24_000)
    return bytes(resampled.astype("<i2").tobytes())


def pieces(pcm: bytes) -> list[bytes]:
    """Return PCM of 24 kHz in pieces of 40 ms."""
    return [pcm[start : start + PIECE_BYTES] for start in range(0, len(pcm), PIECE_BYTES)]


class Caller(ABC):
    """A call with an SDK. Its microphone sends continuously once it is open.

    events  all events received, as the SDK parsed them
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._queue: list[bytes] = []
        self._changed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._receive())]

    @abstractmethod
    async def _receive(self) -> None:
        """Hand every event of the SDK to `_received`."""

    @abstractmethod
    async def append(self, pcm: bytes) -> None:
        """Send 24 kHz PCM."""

    def open_microphone(self) -> None:
        self._tasks.append(asyncio.create_task(self._microphone()))

    async def say(self, pcm: bytes) -> None:
        """Speak 16 kHz PCM in real time."""
        self._queue += pieces(to_24_khz(pcm))
        while self._queue:
            await asyncio.sleep(PIECE_SECONDS)

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def event(self, kind: str, number: int = 1) -> Any:
        """Wait for the event of this type with this number, and return it."""
        await self.wait_until(lambda: len(self.of(kind)) >= number)
        return self.of(kind)[number - 1]

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _received(self, event: Any) -> None:
        self.events.append(event)
        self._changed.set()

    async def _microphone(self) -> None:
        while True:
            await self.append(self._queue.pop(0) if self._queue else bytes(PIECE_BYTES))
            await asyncio.sleep(PIECE_SECONDS)
