"""The PyTorch back end on real weights, de-quantised from the int8 model.

These tests need a second environment (requirements/torch.in). Where torch is missing they are not
collected, and the test run says so at its end.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.kokoro.conftest import WEIGHTS, g2p, voices, weights  # noqa: F401  (fixtures)

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
    from tests.torch.dequantise import dequantise

    folder: Path = tmp_path_factory.mktemp("weights")
    dequantise(WEIGHTS / "kokoro-82m", folder / "kokoro-82m")
    return folder
