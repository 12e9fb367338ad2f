"""For all tests: what one test configures for the process, the next must not inherit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def fresh_journal() -> Iterator[None]:
    """A test that configures the journal binds it to its own captured output, then closed."""
    yield
    structlog.reset_defaults()
