"""A pool of three real gateways behind HAProxy, in network namespaces."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pool.site import PoolSite


def _running(
    folder: Path, places: int, attempts: int, queue_seconds: int = 8
) -> Iterator[PoolSite]:
    settings = {
        "GATEWAY_MAX_ATTEMPTS_PER_MINUTE": str(attempts),
        # On a slow machine the callers of a test are silent for long.
        "GATEWAY_YIELD_SECONDS": "600",
        "GATEWAY_IDLE_SECONDS": "600",
    }
    site = PoolSite(folder, places, secrets.token_urlsafe(32), queue_seconds, **settings)
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolSite]:
    """Three hosts with eight places each."""
    yield from _running(tmp_path_factory.mktemp("pool"), places=8, attempts=10_000)


@pytest.fixture
def site(running_site: PoolSite) -> PoolSite:
    """The same, when all hosts are up and no call is left of the test before."""
    running_site.wait_all_up()
    return running_site


@pytest.fixture(scope="module")
def running_small_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolSite]:
    """Three hosts with four places each, ten attempts a minute, and a patient proxy."""
    yield from _running(tmp_path_factory.mktemp("small-pool"), 4, 10, queue_seconds=60)


@pytest.fixture
def small_site(running_small_site: PoolSite) -> PoolSite:
    """The same, when all hosts are up and no call is left of the test before."""
    running_small_site.wait_all_up()
    return running_small_site
