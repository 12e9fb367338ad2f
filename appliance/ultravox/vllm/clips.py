"""One utterance as the model takes it, and whether there is speech in it; pure.

Ultravox v0.5 answers noise (recall of noise 0.00 in its own table), so what is no speech must not
reach it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from appliance.errors import BadRequest
from appliance.ultravox.loudness import RATE, SILENT_RMS, Samples, frame_rms, speech_span

Verdict = Literal["speech", "too_short", "silent", "steady"]


class Clip:
    """Collects 16 kHz mono int16 audio. What comes after `max_seconds` is not heard."""

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min_samples = int(min_seconds * RATE)
        self._max_bytes = 2 * int(max_seconds * RATE)
        self._pcm = bytearray()

    def add(self, pcm: bytes) -> None:
        """More audio, little endian. Raises BadRequest for half a sample."""
        if len(pcm) % 2:
            raise BadRequest(engine="ultravox", what="half a sample")
        self._pcm += pcm[: self._max_bytes - len(self._pcm)]

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return len(self._pcm) / 2 / RATE

    @property
    def samples(self) -> Samples:
        """The audio so far, in -1..1 and finite, as int16 has no other values."""
        whole = np.frombuffer(bytes(self._pcm), "<i2")
        return whole.astype(np.float32) / np.float32(32768)

    def verdict(self) -> Verdict:
        """What is in it so far."""
        samples = self.samples
        if len(samples) < self._min_samples:
            return "too_short"
        if not (frame_rms(samples) > SILENT_RMS).any():
            return "silent"
        return "steady" if speech_span(samples) is None else "speech"
