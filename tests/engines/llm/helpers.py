"""Speech from espeak-ng, and helpers for using a session."""

from __future__ import annotations

import functools
import io
import subprocess
import wave
from collections.abc import Sequence

import numpy as np
import soxr

from appliance.engines.llm.loudness import Samples
from appliance.link.engine import GenerateRequest, LLMSession, Result, Tool, Turn

MESSAGE_BYTES = 1280  # 40 ms of 16 kHz int16 audio


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


def hear(session: LLMSession, utterance: int, pcm: bytes) -> Turn:
    """Send a complete utterance in small messages, and return the turn that refers to it."""
    session.begin(utterance)
    for start in range(0, len(pcm), MESSAGE_BYTES):
        session.add_audio(utterance, pcm[start : start + MESSAGE_BYTES])
    session.end(utterance)
    return Turn("user", utterance=utterance)


async def reply(
    session: LLMSession,
    conversation: Sequence[Turn],
    max_tokens: int = 60,
    tools: Sequence[Tool] = (),
) -> tuple[str, Result]:
    """Generate a greedy reply. Return its complete text and its result."""
    request = GenerateRequest(tuple(conversation), max_tokens, 0.0, tuple(tools))
    *pieces, result = [piece async for piece in session.generate(request)]
    assert isinstance(result, Result)
    return "".join(piece for piece in pieces if isinstance(piece, str)), result
