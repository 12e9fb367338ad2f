"""When a session closes after the model has called `end_call`."""

from __future__ import annotations

import asyncio

import pytest

from appliance.gateway.hang_up import GracefulHangUp


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def hang_up(events: list[str]) -> GracefulHangUp:
    return GracefulHangUp(lambda: events.append("close"), lambda: events.append("cut off"))


async def test_session_closes_once_after_the_goodbye_was_heard(
    hang_up: GracefulHangUp, events: list[str]
) -> None:
    hang_up.begin(speaking=True)
    assert events == []
    hang_up.heard(interrupted=False)
    hang_up.heard(interrupted=False)
    hang_up.cancel()
    assert events == ["close"]


async def test_session_closes_immediately_without_a_goodbye(
    hang_up: GracefulHangUp, events: list[str]
) -> None:
    hang_up.begin(speaking=False)
    hang_up.cancel()
    assert events == ["close"]


async def test_interrupted_goodbye_cancels_the_hang_up(
    hang_up: GracefulHangUp, events: list[str]
) -> None:
    hang_up.begin(speaking=True)
    hang_up.heard(interrupted=True)
    hang_up.heard(interrupted=False)
    assert events == []


async def test_goodbye_that_never_ends_is_cut_off(
    hang_up: GracefulHangUp, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.gateway.hang_up.GOODBYE_SECONDS", 0.01)
    hang_up.begin(speaking=True)
    async with asyncio.timeout(10):
        while events != ["close", "cut off"]:
            await asyncio.sleep(0.005)
