"""Two gateways with referees: one to attack, and the control."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.attack.gateways import gateway_process
from tests.gateway.attack.referees import Court


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with contextlib.AsyncExitStack() as running:
        attacked = await running.enter_async_context(gateway_process(tmp_path / "attacked"))
        control = await running.enter_async_context(gateway_process(tmp_path / "control"))
        yield Court(attacked, control)
