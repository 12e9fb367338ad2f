"""Does the appliance connect to another machine? Watches during the whole test.

The kernel's socket tables are read several times a second, so a shorter connection can be missed.
In a network namespace without a route nothing is missed: there the kernel counts every attempt.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from pathlib import Path

from appliance.acceptance import processes, sockets
from appliance.acceptance.report import CheckResult, judge
from appliance.acceptance.site import Site
from appliance.acceptance.sockets import Endpoint, KernelSocket

CHECK = "egress"
POLL_SECONDS = 0.2
NET = Path("/proc/self/net")
FAMILIES = ("tcp", "tcp6", "udp", "udp6")
MAX_SHOWN = 5
ADVICE = (
    "Disconnect the container (a --network without a route out) and make a support bundle:"
    " no process should use a network."
)


class EgressWatch:
    """Use as `async with EgressWatch(...)`, then call `result`."""

    def __init__(
        self, run: Path, serving: Collection[int], own_endpoints: Collection[Endpoint]
    ) -> None:
        self._run = run
        self._serving = serving
        self._own_endpoints = own_endpoints
        self._seen: dict[str, None] = {}
        self._polls = 0
        self._unreadable = ""

    async def __aenter__(self) -> EgressWatch:
        listening = {each.inode for each in sockets.listening(_read_tables())}
        # In a network namespace that other programs use, only the appliance's own sockets count.
        self._shared = bool(listening - self._own_inodes())
        self._no_route_before = _read_no_route_count()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def result(self) -> CheckResult:
        """Return what was seen so far. Raises OSError or ValueError if the watch failed."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()  # raises what ended it
        self._poll()
        if self._unreadable:
            advice = "Run this as the same user as the appliance."
            return CheckResult(CHECK, "fail", self._unreadable, "readable processes", advice)
        attempts = 0 if self._shared else _read_no_route_count() - self._no_route_before
        seen = list(self._seen)
        if attempts > 0:
            seen.append(f"{attempts} attempts without a route")
        scope = "the appliance's own sockets" if self._shared else "all sockets of its network"
        found = f"{scope} looked at {self._polls} times"
        found += f": {'; '.join(seen[:MAX_SHOWN])}" if seen else ", none to another machine"
        return judge(CHECK, not seen, found, "no connection to another machine", ADVICE)

    async def _watch(self) -> None:
        while True:
            self._poll()
            await asyncio.sleep(POLL_SECONDS)

    def _poll(self) -> None:
        self._polls += 1
        outbound = sockets.outbound(_read_tables(), self._serving, self._own_endpoints)
        if outbound and self._shared:
            own = self._own_inodes()
            outbound = [each for each in outbound if each.inode in own]
        self._seen |= dict.fromkeys(map(str, outbound))

    def _own_inodes(self) -> set[int]:
        try:
            return processes.socket_inodes(processes.process_ids(self._run))
        except ConnectionError:
            return set()  # supervisord is not running; other checks report that
        except PermissionError as problem:
            self._unreadable = str(problem)
            return set()


async def watch(site: Site) -> EgressWatch:
    """Return a watch on an appliance that ignores the test's own calls."""
    settings = site.settings
    try:
        own = {Endpoint.parse(address, port) for address, port in await site.own_endpoints()}
    except socket.gaierror:
        own = set()  # unknown host; other checks report that
    return EgressWatch(settings.paths.run, {settings.gateway.port, settings.exporter.port}, own)


def _read_tables() -> list[KernelSocket]:
    tables = ((family, NET / family) for family in FAMILIES)
    return [
        each
        for family, path in tables
        if path.exists()
        for each in sockets.parse(family, path.read_text())
    ]


def _read_no_route_count() -> int:
    snmp6 = NET / "snmp6"
    ipv6 = snmp6.read_text() if snmp6.exists() else ""
    return sockets.no_route_count((NET / "snmp").read_text(), ipv6)
