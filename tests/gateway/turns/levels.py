"""Speech at a given level, for tests."""

from __future__ import annotations

import numpy as np

FRAME_SAMPLES = 160  # 10 ms at 16 kHz


def at_level(audio: bytes, dbfs: float) -> bytes:
    """Return 16 kHz mono int16 PCM with its active part at this level."""
    samples = np.frombuffer(audio, "<i2").astype(np.float32) / 32768
    whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
    levels = np.mean(samples[:whole].reshape(-1, FRAME_SAMPLES) ** 2, axis=1)
    active = np.mean(levels[levels > levels.max() / 1000])
    return pcm(samples * 10 ** (dbfs / 20) / np.sqrt(active))


def pcm(samples: np.ndarray) -> bytes:
    """Return samples in -1 to 1 as int16 PCM."""
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
