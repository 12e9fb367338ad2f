"""Speech made by espeak-ng."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import soxr

from client import wire

Speak = Callable[[str], bytes]


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Speak:
    """Return a function that synthesizes text with espeak-ng: 16 kHz mono int16 PCM."""
    folder = tmp_path_factory.mktemp("speech")
    cache: dict[str, bytes] = {}

    def speak(text: str) -> bytes:
        if text not in cache:
            path = folder / f"{len(cache)}.wav"
            subprocess.run(["espeak-ng", "-v", "en-us", "-w", str(path), text], check=True)
            samples, rate = soundfile.read(path, dtype="float32")
            resampled = soxr.resample(samples, rate, wire.MIC_SAMPLE_RATE)
            cache[text] = (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
        return cache[text]

    return speak
