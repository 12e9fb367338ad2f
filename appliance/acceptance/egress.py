"""Does anything in the appliance talk to another machine? Looks all through the run.

The kernel's lists of sockets are read several times a second; what is shorter can slip through. In
a network namespace without a route it cannot: there the kernel counts every attempt.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from appliance.acceptance import sockets
from appliance.acceptance.report import Result, judged
from appliance.acceptance.site import Site
from appliance.acceptance.sockets import (
    End,
    Socket,
    leaving,
    listening,
    no_route_count,
    parse,
)

CHECK = "egress"
LOOK_SECONDS = 0.2
NET = Path("/proc/self/net")
FAMILIES = ("tcp", "tcp6", "udp", "udp6")
ADVICE = (
    "Cut the container off (--network without a route out) and make a support bundle:"
    " nothing inside should want a network."
)


class Watch:
    """Use as `async with Watch(...)`, then `result`."""

    def __init__(self, run: Path, serving: set[int], known: set[End]) -> None:
        self._run = run
        self._serving = serving
        self._known = known
        self._found: dict[str, None] = {}
        self._looks = 0
        self._hidden = ""

    async def __aenter__(self) -> Watch:
        waiting = {one.inode for one in listening(_all())}
        self._shared = bool(waiting - self._own())
        self._no_route = _no_route()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def result(self) -> Result:
        """What was seen until now. Raises OSError and ValueError when looking was not possible."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()  # It looks for ever: this raises what ended it.
        self._look()
        if self._hidden:
            todo = "Run this as the user whom the appliance runs as."
            return Result(CHECK, "fail", self._hidden, "processes that can be looked at", todo)
        attempts = 0 if self._shared else _no_route() - self._no_route
        seen = list(self._found)
        if attempts > 0:
            seen.append(f"{attempts} attempts without a route")
        where = "the appliance's own sockets" if self._shared else "all sockets of its network"
        found = f"{where} looked at {self._looks} times"
        found += f": {'; '.join(seen[:5])}" if seen else ", none to another machine"
        return judged(CHECK, not seen, found, "nothing leaves", ADVICE)

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        self._looks += 1
        found = leaving(_all(), self._serving, self._known)
        if found and self._shared:
            own = self._own()
            found = [one for one in found if one.inode in own]
        self._found |= dict.fromkeys(map(str, found))

    def _own(self) -> set[int]:
        try:
            return sockets.sockets(sockets.family(self._run))
        except ConnectionError:
            return set()  # Without supervisord there are no processes, and the other checks say so.
        except PermissionError as problem:
            self._hidden = str(problem)
            return set()


async def watch(site: Site) -> Watch:
    """A watch on an appliance, which knows how we call it ourselves."""
    given = site.given
    try:
        known = {End.at(address, port) for address, port in await site.way()}
    except socket.gaierror:
        known = set()  # No such host: then nobody gets there, and the other checks say so.
    return Watch(given.paths.run, {given.gateway.port, given.exporter.port}, known)


def _all() -> list[Socket]:
    lists = ((name, NET / name) for name in FAMILIES)
    return [one for name, path in lists if path.exists() for one in parse(name, path.read_text())]


def _no_route() -> int:
    six = NET / "snmp6"
    return no_route_count((NET / "snmp").read_text(), six.read_text() if six.exists() else "")
