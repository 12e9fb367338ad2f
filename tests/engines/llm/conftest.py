"""Real models, loaded once, and speech made by espeak-ng."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import subprocess
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]

# Before the first model loads libgomp: threads that spin at a barrier stall a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.engine import FALLBACK, SmallEngine, model_folder
from appliance.engines.llm.small.llama import LanguageModel
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.engines.llm.small.session import SmallSession
from appliance.link.engine import GenerateRequest, Result, Turn
from appliance.settings import PathsConfig, Settings

WEIGHTS = Path(__file__).parents[3] / "weights"
SYSTEM = Turn("system", Settings().llm.system_prompt)
Say = Callable[[str], bytes]


@functools.cache
def spoken(text: str) -> bytes:
    """The text as 16 kHz mono int16 PCM."""
    wav = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", text], capture_output=True, check=True
    ).stdout
    with wave.open(io.BytesIO(wav)) as file:
        samples = np.frombuffer(wav[44:], "<i2")
        heard = soxr.resample(samples, file.getframerate(), 16_000).astype("<i2")
    return bytes(heard.tobytes())


def floats(pcm: bytes) -> Samples:
    """PCM as the recognizer takes it."""
    samples: Samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    return samples


def hear(session: SmallSession, number: int, pcm: bytes) -> Turn:
    """A turn of the user, heard in pieces as a caller sends them."""
    session.begin(number)
    for start in range(0, len(pcm), 1280):
        session.hear(number, pcm[start : start + 1280])
    session.end(number)
    return Turn("user", utterance=number)


async def reply(
    session: SmallSession, conversation: Sequence[Turn], max_tokens: int = 60
) -> tuple[str, Result]:
    """The whole answer and how it ended."""
    request = GenerateRequest(tuple(conversation), max_tokens, 0.0)
    *pieces, result = [item async for item in session.generate(request)]
    assert isinstance(result, Result)
    return "".join(map(str, pieces)), result


def smallest() -> str:
    """The fallback when it is installed; set-up fetches it only in need."""
    wanted = Settings().llm.model
    return FALLBACK if (WEIGHTS / FALLBACK).is_dir() else wanted


@pytest.fixture(scope="session")
def say() -> Say:
    return spoken


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(paths=PathsConfig(weights=WEIGHTS))


@pytest.fixture(scope="session")
def moonshine() -> Moonshine:
    return Moonshine(WEIGHTS / "moonshine-tiny-en", threads=1)


@pytest.fixture(scope="session")
def small_model() -> Iterator[LanguageModel]:
    """Two slots; SmolLM2 where it is, as what is tested here does not depend on what is said."""
    model = LanguageModel(model_folder(WEIGHTS, smallest()) / "model.gguf", 2, 1024, slots=2)
    yield model
    model.close()


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[SmallEngine]:
    """The engine with its default model; it keeps to no event loop."""
    engine = SmallEngine(settings)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.stop())


@pytest.fixture
async def session(engine: SmallEngine) -> AsyncIterator[SmallSession]:
    session = engine.open()
    yield session
    await session.close()
