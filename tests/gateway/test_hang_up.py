"""When a call ends that the model has ended."""

from __future__ import annotations

import asyncio

import pytest

from appliance.gateway import session
from appliance.gateway.session import Goodbye


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def farewell(events: list[str]) -> Goodbye:
    return Goodbye(lambda: events.append("hang up"), lambda: events.append("cut off"))


async def test_the_call_ends_when_the_goodbye_was_heard(
    farewell: Goodbye, events: list[str]
) -> None:
    farewell.begins(speaking=True)
    assert events == []
    farewell.heard(interrupted=False)
    farewell.heard(interrupted=False)
    farewell.close()
    assert events == ["hang up"]


async def test_without_a_goodbye_it_ends_at_once(farewell: Goodbye, events: list[str]) -> None:
    farewell.begins(speaking=False)
    farewell.close()
    assert events == ["hang up"]


async def test_a_caller_who_interrupts_the_goodbye_keeps_the_call(
    farewell: Goodbye, events: list[str]
) -> None:
    farewell.begins(speaking=True)
    farewell.heard(interrupted=True)
    farewell.heard(interrupted=False)
    assert events == []


async def test_a_goodbye_nobody_gets_to_hear_does_not_keep_the_line(
    farewell: Goodbye, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PATIENCE_SECONDS", 0.01)
    farewell.begins(speaking=True)
    async with asyncio.timeout(10):
        while events != ["hang up", "cut off"]:
            await asyncio.sleep(0.005)
