"""What needs PyTorch: Kokoro's back end on de-quantised weights, and Ultravox under vLLM.

These tests need a second environment (ops/setup-torch). Where torch is missing they are not
collected, and the test run says so at its end.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from appliance import offline
from appliance.settings import Settings, load
from tests.engines.tts.conftest import WEIGHTS, g2p, voices, weights  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from appliance.engines.llm.vllm.engine import VllmEngine

GOLDEN = Path(__file__).parents[1] / "golden" / "ultravox-tiny"
MISSING = [
    name
    for name in ("torch", "kokoro", "safetensors", "transformers")
    if importlib.util.find_spec(name) is None
]
NOTICE = (
    f"NOT RUN: tests/torch, because of what is not installed here: {', '.join(MISSING)}. "
    "Kokoro's PyTorch back end is untested in this run; see requirements/torch.in."
)
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str:
    return NOTICE if MISSING else "tests/torch: Kokoro's PyTorch back end on de-quantised weights"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(NOTICE, yellow=True, bold=True)


@pytest.fixture(scope="session")
def torch_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights that holds the PyTorch model."""
    from appliance.gpu_proof.dequantise import dequantise

    folder: Path = tmp_path_factory.mktemp("weights")
    dequantise(WEIGHTS / "kokoro-82m", folder / "kokoro-82m")
    return folder


def vllm_settings(**changed: str) -> Settings:
    """Those of an engine with the tiny checkpoint, as it was recorded."""
    return load({f"VOICE_{name}": value for name, value in (VLLM | changed).items()})


VLLM = {
    "PATHS_WEIGHTS": str(GOLDEN),
    "LLM_ENGINE": "vllm",
    "LLM_MODEL": "checkpoint",
    "LLM_DTYPE": "float32",
    "LLM_TODAY": "26 Jul 2024",
}


def quiet_environment() -> None:
    """What `python -m appliance` sees to. Byte code is kept: three processes load vLLM."""
    offline.apply(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine() -> AsyncIterator[VllmEngine]:
    """Started once for all tests; they run in its event loop, `loop_scope="session"`."""
    from appliance.gpu_proof.scoring import create_vllm_engine

    quiet_environment()
    engine = create_vllm_engine(vllm_settings())
    await engine.start()
    yield engine
    await engine.stop()
