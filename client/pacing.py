"""A simulated microphone: sends silence and queued speech in real time.

Sample n of the stream is spoken at `started_at + n / rate`. A frame is sent when its last sample
has been spoken, as by a real microphone. So the time at which the speech in a file ends is known
exactly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from client.playback import first_audible, last_audible
from client.wire import FRAME_SAMPLES, FRAME_SECONDS, MIC_SAMPLE_RATE

SILENCE = bytes(2 * FRAME_SAMPLES)
MAX_LAG_SECONDS = 1.0  # after a longer stall, audio is dropped, as by a microphone


class PacedSource:
    """Sends one 40 ms frame every 40 ms through `send` until it is cancelled."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], clock: Callable[[], float]):
        self._send = send
        self._clock = clock
        self._started_at = clock()
        self._sent_frames = 0
        self._queue = bytearray()

    def play(self, pcm: bytes) -> tuple[float, float]:
        """Queue mono int16 PCM at 16 kHz. Returns the times at which its speech begins and ends.

        PCM without an audible sample counts as speech from its first to its last sample.
        """
        begins_at = self._started_at + self._sent_frames * FRAME_SECONDS
        begins_at += len(self._queue) / 2 / MIC_SAMPLE_RATE
        first = first_audible(pcm) or 0
        last = last_audible(pcm)
        end = len(pcm) // 2 if last is None else last + 1
        self._queue += pcm
        return begins_at + first / MIC_SAMPLE_RATE, begins_at + end / MIC_SAMPLE_RATE

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            due = self._started_at + (self._sent_frames + 1) * FRAME_SECONDS
            await asyncio.sleep(max(0.0, due - self._clock()))
            lag = self._clock() - due
            if lag > MAX_LAG_SECONDS:
                self._sent_frames += int(lag / FRAME_SECONDS)
            frame = bytes(self._queue[: len(SILENCE)])
            del self._queue[: len(frame)]
            self._sent_frames += 1
            await self._send(frame + SILENCE[len(frame) :])
