"""Callers of a pool: each from an address of its own, with typed questions or a microphone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.simulated_client import SimulatedClient
from tests.pool.site import POOL_NAME, PORT, PROXY_ADDRESS, PoolHost, PoolSite, wait_for

BYTES_PER_SECOND = 24_000 * 2
PREBUFFER_SECONDS = 0.08  # of client/conversation.py


class PoolCaller(SimulatedClient):
    """A caller who types, and measures replies.

    longest_gap_seconds  the longest time in a reply in which the loudspeaker had nothing to play
    answered_at          when the audio of the last reply began (time.monotonic()); None: not yet
    """

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.longest_gap_seconds = 0.0
        self.answered_at: float | None = None
        self.on_audio = self._play
        self._played_until: float | None = None  # None: nothing of this reply was played yet

    def _play(self, pcm: bytes) -> None:
        now = time.monotonic()
        if self._played_until is None:
            self.answered_at = now
        # The client begins to play when it has this much.
        end = now + PREBUFFER_SECONDS if self._played_until is None else self._played_until
        self.longest_gap_seconds = max(self.longest_gap_seconds, now - end)
        self._played_until = max(end, now) + len(pcm) / BYTES_PER_SECOND

    async def ask(self, text: str = "Hello?") -> dict[str, Any]:
        """Ask a typed question; return the report of the turn when it is complete.

        If the call ends before, the outcome is "cut".
        """
        turns = self.turns
        self._played_until = self.answered_at = None
        with contextlib.suppress(ConnectionClosed):
            await self.type(text)
        await self.wait_until(lambda: len(self.turns) > len(turns) or self.closed)
        return self.turns[-1] if len(self.turns) > len(turns) else {"outcome": "cut"}


async def dial(
    site: PoolSite,
    number: int,
    host: PoolHost | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "/ws",
) -> ClientConnection:
    """Connect caller `number` to the pool, or to a host. Raises OSError or InvalidStatus."""
    address, name, trust = PROXY_ADDRESS, POOL_NAME, site.trust()
    if host is not None:
        address, name, trust = host.node.address, host.tls_name, host.tls.trust()
    source = site.callers.addresses[number]
    opened = await asyncio.to_thread(site.callers.connect, address, PORT, source)
    return await connect(
        f"wss://{name}:{PORT}{path}",
        sock=opened,
        ssl=trust,
        server_hostname=name,
        additional_headers={"Authorization": f"Bearer {site.token}", **(headers or {})},
        open_timeout=60,
    )


@contextlib.asynccontextmanager
async def calling(
    site: PoolSite, number: int, host: PoolHost | None = None, *, microphone: bool = False
) -> AsyncIterator[PoolCaller]:
    """A call of caller `number`, to the pool or directly to a host."""
    caller = PoolCaller(await dial(site, number, host))
    try:
        if not microphone:
            caller.mute()
        with contextlib.suppress(ConnectionClosed):  # the host may stop at any moment
            await caller.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await caller.wait_until(lambda: caller.messages("bot-ready") or caller.closed)
        yield caller
    finally:
        await caller.disconnect()


@contextlib.asynccontextmanager
async def several(
    site: PoolSite, numbers: Sequence[int], host: PoolHost | None = None, microphone: bool = False
) -> AsyncIterator[list[PoolCaller]]:
    """Calls of several callers, one after the other."""
    async with contextlib.AsyncExitStack() as calls:
        callers: list[PoolCaller] = []
        for number in numbers:
            call = calling(site, number, host, microphone=microphone)
            callers.append(await calls.enter_async_context(call))
        yield callers


async def outcomes(callers: Sequence[PoolCaller]) -> list[str]:
    """Let all callers ask at the same time; return the outcome of each turn."""
    turns = await asyncio.gather(*(caller.ask() for caller in callers))
    return [turn["outcome"] for turn in turns]


async def waiting(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition of the pool, while the callers go on."""
    await asyncio.to_thread(wait_for, condition, what)
