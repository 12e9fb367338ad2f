"""Converts the client's audio from the rate of the protocol to that of the pipeline. No I/O.

The samples are floating-point numbers in between. With int16, soxr adds noise (dither), so that
digital silence would not stay silent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from appliance.gateway.realtime.config import SAMPLE_RATE
from appliance.link.engine import INPUT_SAMPLE_RATE

FULL_SCALE = 32_768


class InputResampler:
    """Converts one stream of 24 kHz mono int16 PCM to 16 kHz. It delays it by up to 35 ms."""

    def __init__(self) -> None:
        self._stream = self._new()

    def convert(self, pcm: bytes) -> bytes:
        """Return the next audio, without the latest few milliseconds."""
        return _to_pcm(self._stream.resample_chunk(_to_samples(pcm)))

    def flush(self) -> bytes:
        """Return the rest, and begin a new stream."""
        rest = self._stream.resample_chunk(_to_samples(b""), last=True)
        self._stream = self._new()
        return _to_pcm(rest)

    @staticmethod
    def _new() -> soxr.ResampleStream:
        return soxr.ResampleStream(SAMPLE_RATE, INPUT_SAMPLE_RATE, 1, dtype="float32")


def to_input_rate(pcm: bytes) -> bytes:
    """Convert a whole piece of 24 kHz mono int16 PCM to 16 kHz."""
    return _to_pcm(soxr.resample(_to_samples(pcm), SAMPLE_RATE, INPUT_SAMPLE_RATE))


def _to_samples(pcm: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(FULL_SCALE)


def _to_pcm(samples: npt.NDArray[np.float32]) -> bytes:
    scaled = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return scaled.astype("<i2").tobytes()
