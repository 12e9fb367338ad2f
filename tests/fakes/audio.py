"""Synthetic audio."""

from __future__ import annotations

import numpy as np

from appliance.link.engine import OUTPUT_SAMPLE_RATE


def tone(seconds: float, rate: int = OUTPUT_SAMPLE_RATE, hertz: float = 440.0) -> bytes:
    """Return mono int16 PCM of a sine at about -12 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()
