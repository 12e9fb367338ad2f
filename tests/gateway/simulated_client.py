"""A client whose microphone sends continuously, and which keeps what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from client import wire

TIMEOUT_SECONDS = 60.0  # generous, so that a slow machine does not fail the tests


class SimulatedClient:
    """A connected client. Its microphone sends continuously, and received frames are kept.

    frames     all frames received from the gateway
    sent_pcm   all PCM sent to the gateway
    distort    changes each frame of the microphone before it is sent
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[wire.Frame] = []
        self._messages: list[wire.RTVIMessage] = []  # of the frames: conditions look at all again
        self.sent_pcm = bytearray()
        self._queue = bytearray()
        self.distort: Callable[[bytes], bytes] = lambda pcm: pcm
        self.on_audio: Callable[[bytes], None] = lambda _pcm: None  # 24 kHz, as received
        self._changed = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._receive()),
            asyncio.create_task(self._microphone()),
        ]

    async def send(self, kind: str, data: object = None) -> None:
        await self.socket.send(wire.encode(wire.RTVIMessage(kind, data, id="1")))

    async def type(self, text: str) -> None:
        await self.send("send-text", {"content": text})

    def play_into_microphone(self, gain: float) -> None:
        """Let the microphone hear the loudspeaker from now on."""
        resampler = soxr.ResampleStream(24_000, 16_000, 1, dtype="int16")

        def play(pcm: bytes) -> None:
            samples = resampler.resample_chunk(np.frombuffer(pcm, dtype="<i2"))
            self._queue += (samples * gain).astype("<i2").tobytes()

        self.on_audio = play

    async def say(self, pcm: bytes) -> None:
        """Speak `pcm` in real time. Return when all of it has been sent."""
        self._queue += pcm
        while self._queue and not self.closed:
            await asyncio.sleep(0.02)

    def mute(self) -> None:
        """Stop sending audio, like a push-to-talk button that is released."""
        self._tasks[1].cancel()

    def unmute(self) -> None:
        """Send audio again."""
        self._tasks[1] = asyncio.create_task(self._microphone())

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` is true. Raises TimeoutError."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    async def turn(self, number: int) -> dict[str, Any]:
        """Wait for the report of turn `number` and return it."""
        await self.wait_until(lambda: any(turn["turn"] == number for turn in self.turns))
        return next(turn for turn in self.turns if turn["turn"] == number)

    async def wait_bot_speaking(self, times: int = 1) -> None:
        """Wait until the bot has begun to speak `times` times and its audio has arrived."""
        await self.wait_until(
            lambda: (
                len(self.messages("bot-started-speaking")) >= times
                and isinstance(self.frames[-1], wire.AudioFrame)
            )
        )

    async def wait_closed(self) -> tuple[int | None, str | None]:
        """Wait until the gateway has closed the connection. Return the close code and reason."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    async def disconnect(self) -> None:
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def closed(self) -> bool:
        return self.socket.close_code is not None

    @property
    def turns(self) -> list[dict[str, Any]]:
        messages = self.messages("server-message")
        data = [message.data for message in messages if isinstance(message.data, dict)]
        return [turn for turn in data if turn.get("kind") == "turn"]

    @property
    def audio(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames if isinstance(frame, wire.AudioFrame))

    def messages(self, kind: str) -> list[wire.RTVIMessage]:
        return [message for message in self._messages if message.type == kind]

    def texts(self, kind: str) -> str:
        return "".join(message.text() for message in self.messages(kind))

    async def _receive(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for raw in self.socket:
                frame = wire.decode(raw)
                self.frames.append(frame)
                if isinstance(frame, wire.AudioFrame):
                    self.on_audio(frame.pcm)
                elif isinstance(frame, wire.RTVIMessage):
                    self._messages.append(frame)
                self._changed.set()

    async def _microphone(self) -> None:
        size = wire.FRAME_SAMPLES * 2
        due = time.monotonic()
        with contextlib.suppress(ConnectionClosed):
            while True:
                pcm = self.distort(bytes(self._queue[:size]).ljust(size, b"\0"))
                del self._queue[:size]
                self.sent_pcm += pcm
                await self.socket.send(wire.encode(wire.AudioFrame(pcm)))
                # After a stall of the machine, microphone time is dropped, not sent in a burst.
                due = max(due + wire.FRAME_SECONDS, time.monotonic() - 0.5)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
