"""A full pool: who waits for a place. And the limit of attempts, by the addresses of callers."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from tests.pool.callers import PoolCaller, calling, dial, several, waiting
from tests.pool.site import PoolSite


@pytest.mark.parametrize("seen", [False, True])
async def test_13th_caller_of_12_places_waits_and_gets_in(small_site: PoolSite, seen: bool) -> None:
    """Whether the checks have seen that all hosts are full, or not yet."""
    site = small_site
    async with several(site, range(12)) as callers:
        full = {host.name: "NOLB" for host in site.hosts}
        if seen:
            await waiting(lambda: site.proxy.states() == full, "all are full")
        late = asyncio.create_task(dial(site, 12))
        await waiting(lambda: site.proxy.connections() == 13, "the 13th caller waits")
        assert not late.done()
        await callers[5].disconnect()
        caller = PoolCaller(await late)
        await caller.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        assert (await caller.ask())["outcome"] == "answered"
        await caller.disconnect()


async def test_who_waits_gets_in_in_order_and_who_hangs_up_blocks_nobody(
    small_site: PoolSite,
) -> None:
    site = small_site
    async with several(site, range(12)) as callers:
        late = []
        for number in (12, 13, 14):
            late.append(asyncio.create_task(dial(site, number)))
            count = len(callers) + len(late)
            await waiting(lambda count=count: site.proxy.connections() == count, "it waits")  # type: ignore[misc]
        gone, first, second = late
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await callers[0].disconnect()
        connected = await first
        assert not second.done()
        await callers[1].disconnect()
        for each in (connected, await second):
            await each.close()


async def test_attempt_limit_counts_the_addresses_of_callers(small_site: PoolSite) -> None:
    """Each address has 10 attempts a minute, and cannot take another's."""
    for number in range(20):
        async with calling(small_site, number):
            pass

    async def guess(number: int, claimed: str = "10.77.2.1") -> int:
        headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": claimed}
        with pytest.raises(InvalidStatus) as caught:
            await dial(small_site, number, headers=headers)
        return caught.value.response.status_code

    claimed = [f"10.77.2.{number}" for number in range(31)]
    assert {await guess(30, address) for address in claimed} == {401, 429}
    assert await guess(31) == 401
