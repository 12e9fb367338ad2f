"""Check that the appliance connects to no other machine during the whole test.

The kernel's socket tables are polled several times a second, so a very short connection can be
missed. In a network namespace without a route nothing is missed, because the kernel counts every
attempt there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from pathlib import Path

from appliance.acceptance import processes, sockets
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, judge
from appliance.acceptance.sockets import Endpoint, KernelSocket

CHECK = "egress"
POLL_SECONDS = 0.2
NET = Path("/proc/self/net")
FAMILIES = ("tcp", "tcp6", "udp", "udp6")
MAX_SHOWN = 5
ADVICE = (
    "No process should use a network. Run the container on a --network without a route out, and"
    " create a support bundle (voicectl bundle)."
)


class EgressWatch:
    """Polls the socket tables in the background, from `async with` on until the block exits.

    run             run folder of the appliance
    serving         TCP ports that the appliance serves; connections accepted there are allowed
    own_endpoints   endpoints through which the test itself calls the appliance
    """

    def __init__(
        self, run: Path, serving: Collection[int], own_endpoints: Collection[Endpoint]
    ) -> None:
        self._run = run
        self._serving = serving
        self._own_endpoints = own_endpoints
        self._seen: dict[str, None] = {}
        self._polls = 0

    async def __aenter__(self) -> EgressWatch:
        listening = sockets.listening(_read_tables())
        # In a network namespace that other programs use, only the appliance's own sockets count.
        self._shared = len(self._own(listening)) < len(listening)
        self._no_route_before = _read_no_route_count()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def result(self) -> CheckResult:
        """Return the result so far. Raises OSError or ValueError if polling failed."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()  # raises the exception that stopped polling
        self._poll()
        attempts = 0 if self._shared else _read_no_route_count() - self._no_route_before
        seen = list(self._seen)
        if attempts > 0:
            seen.append(f"{attempts} attempts without a route")
        scope = (
            "the appliance's sockets" if self._shared else "all sockets of the network namespace"
        )
        connections = "; ".join(seen[:MAX_SHOWN]) or "no connection to another machine"
        actual = f"{scope} polled {self._polls} times: {connections}"
        return judge(CHECK, not seen, actual, "no connection to another machine", ADVICE)

    async def _watch(self) -> None:
        while True:
            self._poll()
            await asyncio.sleep(POLL_SECONDS)

    def _poll(self) -> None:
        self._polls += 1
        outbound = sockets.outbound(_read_tables(), self._serving, self._own_endpoints)
        if outbound and self._shared:
            outbound = self._own(outbound)
        self._seen |= dict.fromkeys(map(str, outbound))

    def _own(self, found: list[KernelSocket]) -> list[KernelSocket]:
        """Return the appliance's sockets among those found.

        The processes hide their open files, except from root. Then all sockets of their user count.
        """
        try:
            inodes = processes.socket_inodes(processes.process_ids(self._run))
        except ConnectionError:
            return []  # supervisord is not running; other checks report that
        except PermissionError:
            user = self._run.stat().st_uid
            return [each for each in found if each.user == user]
        return [each for each in found if each.inode in inodes]


async def watch(context: AcceptanceContext) -> EgressWatch:
    """Return a watch that ignores the test's own calls to the appliance."""
    settings = context.settings
    try:
        own = {Endpoint.parse(address, port) for address, port in await context.own_endpoints()}
    except socket.gaierror:
        own = set()  # the host name cannot be resolved; other checks report that
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
