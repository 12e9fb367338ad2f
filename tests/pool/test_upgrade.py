"""A rolling upgrade of three hosts under calls: no turn is lost, and nobody is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.conftest import RECOVERY
from tests.pool.callers import calling, waiting
from tests.pool.site import PoolHost, PoolSite

CALLERS = 9
QUESTIONS = 2  # in each call
TICK_SECONDS = 0.01


@dataclass
class Day:
    """What callers have noticed, and the longest time for which they did not get a core."""

    outcomes: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    late_seconds: float = 0.0
    over: bool = False


async def _measure_lateness(day: Day) -> None:
    while not day.over:
        due = time.monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        day.late_seconds = max(day.late_seconds, time.monotonic() - due)


async def _calls(site: PoolSite, number: int, day: Day) -> None:
    """Call again and again. A refusal raises InvalidStatus."""
    while not day.over:
        async with calling(site, number) as caller:
            for _ in range(QUESTIONS):
                day.outcomes.append((await caller.ask())["outcome"])
            assert not caller.closed
            day.gaps.append(caller.longest_gap_seconds)


async def _upgrade_all(site: PoolSite) -> None:
    """Host by host, what `voicectl activate` does. A new process stands for a new version."""
    for host in site.hosts:
        await _upgrade(site, host)


async def _upgrade(site: PoolSite, host: PoolHost) -> None:
    def is_seen_as(state: str) -> Callable[[], bool]:
        return lambda: site.proxy.states()[host.name] == state

    host.drain()
    await waiting(is_seen_as("NOLB"), "the drain is seen")
    await waiting(lambda: site.proxy.calls()[host.name] == 0, "its calls have ended")
    await asyncio.to_thread(host.stop)
    await waiting(is_seen_as("DOWN"), "it is down")
    host.close()
    host.start()
    await waiting(host.is_listening, "the new release runs, closed to callers")
    assert site.proxy.states()[host.name] == "DOWN"
    host.open()
    await waiting(is_seen_as("UP"), "it is up again")


async def test_rolling_upgrade_loses_no_turn(
    site: PoolSite, request: pytest.FixtureRequest
) -> None:
    day = Day()
    async with asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(_calls(site, number, day))
        callers.create_task(_measure_lateness(day))
        try:
            await _upgrade_all(site)
        finally:
            day.over = True
    assert set(day.outcomes) == {"answered"}
    count, worst, late = len(day.outcomes), max(day.gaps), day.late_seconds
    # Printed, not judged (target: 200 ms): the hosts share this machine, and a gateway that starts
    # takes its cores, so that the callers get one late.
    gaps = f"worst gap {worst * 1000:.0f} ms, callers late by {late * 1000:.0f} ms"
    event = f"upgrade of three hosts, {count} turns answered: {gaps}"
    request.node.user_properties.append((RECOVERY, event))
