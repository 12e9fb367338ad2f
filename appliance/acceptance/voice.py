"""The appliance's own voice to ask with, and its own ears to write down what it answers."""

from __future__ import annotations

import numpy as np
import soxr  # type: ignore[import-untyped]

from appliance.link.client import EngineClient
from appliance.link.conversation import Utterance
from appliance.link.engine import HEARD_RATE, SPOKEN_RATE
from appliance.settings import Settings
from client.wav import to_pcm

STALL_SECONDS = 60.0  # patient: what is timed is the call, not this
EDGE_SECONDS = 0.3  # recognizers miss words at the very edge of a recording


class Voice:
    """Both engines, over the link. Every method raises EngineFailed."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._spoken: dict[str, bytes] = {}

    async def say(self, text: str) -> bytes:
        """Speech of a text: mono int16 PCM at 16 kHz, the same bytes each time."""
        if text not in self._spoken:
            tts = self._given.tts
            client = EngineClient("tts", self._given.paths.run / "tts.sock", STALL_SECONDS)
            try:
                parts = client.speak(text, tts.voice, tts.speed, urgent=False)
                self._spoken[text] = heard_rate(b"".join([part async for part in parts]))
            finally:
                await client.close()
        return self._spoken[text]

    async def hear(self, pcm: bytes) -> str:
        """What is said in mono int16 PCM at 24 kHz; empty for silence."""
        if not pcm:
            return ""
        edge = bytes(2 * round(EDGE_SECONDS * HEARD_RATE))
        utterance = Utterance(1)
        utterance.pcm += edge + heard_rate(pcm) + edge
        utterance.complete = True
        client = EngineClient("llm", self._given.paths.run / "llm.sock", STALL_SECONDS)
        try:
            return await client.transcribe(utterance)
        finally:
            await client.close()


def heard_rate(pcm: bytes) -> bytes:
    """Mono int16 PCM at 24 kHz as the same at 16 kHz."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    return to_pcm(soxr.resample(samples, SPOKEN_RATE, HEARD_RATE))
