"""Synthetic audio, and where a piece of audio is in another."""

from __future__ import annotations

import numpy as np

from appliance.link.engine import OUTPUT_SAMPLE_RATE


def tone(seconds: float, rate: int = OUTPUT_SAMPLE_RATE, hertz: float = 440.0) -> bytes:
    """Return mono int16 PCM of a sine at about -12 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


def middle_of(pcm: bytes) -> bytes:
    """Return `pcm` without its first and last 0.25 s, where endpointing may trim silence."""
    return pcm[8000:-8000]


def contains(audio: bytes | bytearray, part: bytes) -> bool:
    """Return whether 16 kHz PCM contains `part`, apart from what a filter of 3 Hz removes."""
    whole, wanted = (np.frombuffer(pcm, "<i2").astype(float) for pcm in (audio, part))
    if not 0 < len(wanted) <= len(whole):
        return False
    size = len(whole) + len(wanted)
    spectrum = np.fft.rfft(whole, size) * np.fft.rfft(wanted, size).conj()
    start = int(np.fft.irfft(spectrum, size)[: len(whole) - len(wanted) + 1].argmax())
    difference = whole[start : start + len(wanted)] - wanted
    return float(np.sum(difference**2)) < 0.01 * float(np.sum(wanted**2))
