"""A microphone that always hears some noise, as real ones do: white noise of -60 dBFS."""

from __future__ import annotations

import time

import numpy as np

from client.call import ClientCall
from client.conversation import Conversation
from client.pacing import PacedSource
from client.wire import MIC_SAMPLE_RATE

NOISE_DBFS = -60.0
NOISE_SECONDS = 10  # after which the noise repeats


class NoisyConversation(Conversation):
    """A conversation whose microphone adds noise to speech and to the silence between it.

    `seed` is that of the noise, so that callers have different noise.
    """

    def __init__(self, call: ClientCall, seed: int) -> None:
        super().__init__(call)
        samples = np.random.default_rng(seed).normal(size=NOISE_SECONDS * MIC_SAMPLE_RATE)
        self._noise = np.round(samples * 10 ** (NOISE_DBFS / 20) * 32768)
        self._place = 0

        async def send(pcm: bytes) -> None:
            await call.send_audio(self._noisy(pcm))

        self._source = PacedSource(send, time.monotonic)

    def _noisy(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2")
        places = (self._place + np.arange(len(samples))) % len(self._noise)
        self._place = (self._place + len(samples)) % len(self._noise)
        return np.clip(samples + self._noise[places], -32768, 32767).astype("<i2").tobytes()
