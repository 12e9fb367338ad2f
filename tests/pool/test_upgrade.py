"""A rolling upgrade of three hosts under calls: no turn is lost, and nobody is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from websockets.exceptions import InvalidStatus

from appliance import run_folder
from appliance.processes import GATEWAY
from tests.conftest import RECOVERY
from tests.pool.callers import PoolCaller, calling, dial, waiting
from tests.pool.site import PoolHost, PoolSite

CALLERS = 9
CONTROLS = 3  # callers of the host that is not upgraded: as many as each host has
QUESTIONS = 2  # in each call


@dataclass
class Day:
    """What callers have noticed: outcomes of turns, audio of replies, longest gaps of calls."""

    outcomes: list[str] = field(default_factory=list)
    replies: set[bytes] = field(default_factory=set)
    gaps: list[float] = field(default_factory=list)
    over: bool = False


async def _calls(site: PoolSite, number: int, day: Day, host: PoolHost | None = None) -> None:
    """Call again and again. A refusal raises InvalidStatus."""
    while not day.over:
        async with calling(site, number, host) as caller:
            for _ in range(QUESTIONS):
                heard = len(caller.audio)
                outcome = (await caller.ask())["outcome"]
                day.outcomes.append(outcome)
                if outcome == "cut":
                    break
                day.replies.add(bytes(caller.audio[heard:]))
            day.gaps.append(caller.longest_gap_seconds)


@contextlib.asynccontextmanager
async def _calling_all_day(site: PoolSite, day: Day, control: Day) -> AsyncIterator[None]:
    """Callers of the pool, and callers of a host that nobody upgrades."""
    async with asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(_calls(site, number, day))
        for number in range(CALLERS, CALLERS + CONTROLS):
            callers.create_task(_calls(site, number, control, site.outsider))
        try:
            yield
        finally:
            day.over = control.over = True


def _is_seen_as(site: PoolSite, host: PoolHost, state: str) -> Callable[[], bool]:
    return lambda: site.proxy.states()[host.name] == state


async def _drain(site: PoolSite, host: PoolHost) -> None:
    host.drain()
    await waiting(_is_seen_as(site, host, "NOLB"), "the drain is seen")
    await waiting(lambda: site.proxy.calls()[host.name] == 0, "its calls have ended")


async def _restart(site: PoolSite, host: PoolHost) -> None:
    """Start a new process, which stands for a new version, closed; test it; open it."""
    await asyncio.to_thread(host.stop)
    await waiting(_is_seen_as(site, host, "DOWN"), "it is down")
    host.start(closed=True)
    assert await _first_room(host) == (404, "closed")
    await waiting(host.is_prepared, "its engines are ready")
    await _is_accepted(site, host)
    host.open()
    await waiting(_is_seen_as(site, host, "UP"), "it is up again")


async def _first_room(host: PoolHost) -> tuple[int, str]:
    """The first answer of a gateway that starts: status and reason."""
    first: list[tuple[int, str]] = []

    def answers() -> bool:
        with contextlib.suppress(OSError):
            first.append(host.room())
        return bool(first)

    await waiting(answers, "the new release answers")
    return first[0]


async def _is_accepted(site: PoolSite, host: PoolHost) -> None:
    """The acceptance test may call, and nobody else."""
    with pytest.raises(InvalidStatus) as refused:
        await dial(site, CALLERS + CONTROLS, host)
    assert refused.value.response.status_code == 503
    secret = run_folder.read_acceptance_pass(host.run_folder, GATEWAY)
    headers = {run_folder.ACCEPTANCE_HEADER: secret}
    tester = PoolCaller(await dial(site, CALLERS + CONTROLS, host, headers))
    try:
        tester.mute()
        await tester.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        assert (await tester.ask())["outcome"] == "answered"
    finally:
        await tester.disconnect()


@pytest.fixture
async def observed(site: PoolSite) -> PoolSite:
    """The pool, with a host beside it that takes calls and is not upgraded."""
    if not site.outsider.is_running:
        site.outsider.start()

        def has_room() -> bool:
            with contextlib.suppress(OSError):
                return site.outsider.room()[0] == 200
            return False

        await waiting(has_room, "the other host takes calls")
    return site


async def test_rolling_upgrade_loses_no_turn(
    observed: PoolSite, request: pytest.FixtureRequest
) -> None:
    day, control = Day(), Day()
    async with _calling_all_day(observed, day, control):
        for host in observed.hosts:
            await _drain(observed, host)
            await _restart(observed, host)
    assert set(day.outcomes) == set(control.outcomes) == {"answered"}
    # The engines always say the same: no audio was lost, doubled or out of order.
    assert len(day.replies) == 1
    assert day.replies == control.replies
    # When it arrived is not judged. All share the cores of this machine, and a gateway that starts
    # takes them. A pause hits one gateway at a time, and the pool has three for one in the control.
    worst, usual = max(day.gaps), max(control.gaps)
    gaps = f"worst gap {worst * 1000:.0f} ms, of calls without an upgrade {usual * 1000:.0f} ms"
    event = f"upgrade of three hosts, {len(day.outcomes)} turns answered: {gaps}"
    request.node.user_properties.append((RECOVERY, event))


async def test_upgrade_without_a_drain_would_be_noticed(observed: PoolSite) -> None:
    day, control = Day(), Day()
    host = observed.hosts[0]
    async with _calling_all_day(observed, day, control):
        await waiting(lambda: observed.proxy.calls()[host.name] > 0, "it has calls")
        await _restart(observed, host)
    assert "cut" in day.outcomes
    assert set(control.outcomes) == {"answered"}
