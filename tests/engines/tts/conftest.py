"""The real model, loaded once for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.engines.tts.engine import KokoroEngine
from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.voices import Voices
from appliance.settings import PathsConfig, Settings

WEIGHTS = Path(__file__).parents[3] / "weights"


@pytest.fixture(autouse=True)
def patient_espeak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of espeak-ng may take longer than the product's limit on a machine that runs tests."""
    monkeypatch.setattr("appliance.engines.tts.espeak.ESPEAK_TIMEOUT_SECONDS", 60.0)


@pytest.fixture(scope="session")
def weights() -> Path:
    return WEIGHTS


@pytest.fixture(scope="session")
def voices() -> Voices:
    return Voices(WEIGHTS / "kokoro-82m" / "voices")


@pytest.fixture(scope="session")
def g2p() -> G2P:
    return G2P(WEIGHTS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[KokoroEngine]:
    engine = KokoroEngine(Settings(paths=PathsConfig(weights=WEIGHTS)))
    await engine.start()
    yield engine
    await engine.stop()
