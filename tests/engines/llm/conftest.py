"""The real models of the small engine, loaded once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

# Set before the first model loads libgomp: spinning OpenMP threads stall a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from appliance.engines.llm.small.engine import WEIGHTS as MODEL_FILE
from appliance.engines.llm.small.engine import SmallEngine, find_model
from appliance.engines.llm.small.llama import LanguageModel
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.engines.llm.small.session import SmallSession
from appliance.settings import LLMConfig, PathsConfig, Settings
from tests.conftest import FAST_MODEL

WEIGHTS = Path(__file__).parents[3] / "weights"


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(paths=PathsConfig(weights=WEIGHTS), llm=LLMConfig(model=FAST_MODEL))


@pytest.fixture(scope="session")
def moonshine() -> Moonshine:
    return Moonshine(WEIGHTS / "moonshine-tiny-en", threads=1)


@pytest.fixture(scope="session")
def model_path(settings: Settings) -> Path:
    return find_model(WEIGHTS, settings.llm.model) / MODEL_FILE


@pytest.fixture(scope="session")
def language_model(model_path: Path) -> Iterator[LanguageModel]:
    """The fast model with two slots."""
    model = LanguageModel(model_path, 2, 1024, slots=2)
    yield model
    model.close()


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[SmallEngine]:
    """The engine with the fast model. It is not bound to an event loop."""
    engine = SmallEngine(settings)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.stop())


@pytest.fixture
async def session(engine: SmallEngine) -> AsyncIterator[SmallSession]:
    session = engine.open()
    yield session
    await session.close()
