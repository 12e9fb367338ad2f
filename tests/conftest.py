"""For all tests: no deadlines, and a fresh journal for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Shared machines stall, and no test's success is a matter of time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def fresh_journal() -> Iterator[None]:
    """A test that configures the journal binds it to its captured output, which is closed then."""
    yield
    structlog.reset_defaults()
