"""A fixture that starts appliances made of dummy programs and stops them after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.supervision.dummies import DummyAppliance

Start = Callable[..., DummyAppliance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return `start(programs, **environ)`, which starts an appliance in the test's folder."""
    started: list[DummyAppliance] = []

    def starter(programs: dict[str, str], **environ: str) -> DummyAppliance:
        started.append(DummyAppliance(tmp_path, programs, **environ))
        return started[-1]

    yield starter
    for appliance in started:
        appliance.stop()
