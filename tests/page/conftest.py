"""The gateway whose page the tests open, with instant engines, and the browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import make_gateway, speak, turn_models
from tests.page.chromium import Browser

__all__ = ["make_gateway", "speak", "turn_models"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a microphone."""
    running = Browser()
    yield running
    running.stop()
