"""The gateway that the SDKs of OpenAI call, with instant engines."""

from __future__ import annotations

import base64

import numpy as np
import soxr

from tests.gateway.conftest import certificate, gateway, make_gateway, speak, turn_models
from tests.gateway.realtime.teller import Teller

__all__ = [
    "Teller",
    "base64_of",
    "certificate",
    "gateway",
    "make_gateway",
    "pieces",
    "speak",
    "to_24_khz",
    "turn_models",
]

PIECE_SECONDS = 0.04
PIECE_BYTES = int(24_000 * PIECE_SECONDS) * 2


def to_24_khz(pcm: bytes) -> bytes:
    """Return 16 kHz mono int16 PCM at the rate of the Realtime protocol."""
    resampled = soxr.resample(np.frombuffer(pcm, dtype="<i2"), 16_000, 24_000)
    return bytes(resampled.astype("<i2").tobytes())


def pieces(pcm: bytes) -> list[bytes]:
    """Return PCM of 24 kHz in pieces of 40 ms."""
    return [pcm[start : start + PIECE_BYTES] for start in range(0, len(pcm), PIECE_BYTES)]


def base64_of(pcm: bytes) -> str:
    """Return PCM as the protocol carries it."""
    return base64.b64encode(pcm).decode()
