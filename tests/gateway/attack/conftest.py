"""Two gateways with referees: one to attack, and the control, which all attacks share."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway.attack.gateways import GatewayProcess, gateway_process
from tests.gateway.attack.referees import Court


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayProcess]:
    """A gateway that nobody attacks."""
    async with gateway_process(tmp_path_factory.mktemp("control") / "gateway") as running:
        yield running


@pytest.fixture
async def court(tmp_path: Path, control: GatewayProcess) -> AsyncIterator[Court]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with gateway_process(tmp_path / "attacked") as attacked:
        yield Court(attacked, control)
