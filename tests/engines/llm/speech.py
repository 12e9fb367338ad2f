"""Utterances that espeak-ng speaks."""

from __future__ import annotations

import functools
import io
import subprocess
import wave

import numpy as np
import soxr

from appliance.engines.llm.loudness import Samples


@functools.cache
def synthesize(text: str) -> bytes:
    """Synthesize `text` as 16 kHz mono int16 PCM."""
    wav = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", text], capture_output=True, check=True
    ).stdout
    with wave.open(io.BytesIO(wav)) as file:
        samples = np.frombuffer(wav[44:], "<i2")
        resampled = soxr.resample(samples, file.getframerate(), 16_000).astype("<i2")
    return bytes(resampled.tobytes())


def to_samples(pcm: bytes) -> Samples:
    """Convert int16 PCM to float32 in -1..1."""
    samples: Samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    return samples
