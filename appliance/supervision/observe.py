"""Observes each process for the guard: its state, whether it responded, and its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from appliance.errors import EngineFailed
from appliance.processes import EXPORTER, GUARD, socket_path
from appliance.settings import ExporterConfig, Settings
from appliance.supervision.health import local_address
from appliance.supervision.supervisor_client import Program, SupervisorClient
from appliance.supervision.symptoms import ALIVE, HEALTH_CHECK_SECONDS, Observation


class Readiness(Protocol):
    """The part of a health report that the guard needs."""

    @property
    def ready(self) -> bool: ...


AskReadiness = Callable[[Path, float], Awaitable[Readiness]]


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """A process and its children: their private memory, and whether a signal has stopped one."""

    memory_bytes: int = 0
    stopped: bool = False


class Observer:
    """Observes every program except the guard.

    `ask` is `link.health.ask_health`; it raises EngineFailed if there is no answer.
    """

    def __init__(self, settings: Settings, ask: AskReadiness) -> None:
        self._run = settings.paths.run
        self._exporter = settings.exporter
        self._ask = ask
        self._timeout_seconds = min(HEALTH_CHECK_SECONDS, settings.supervision.silent_seconds / 3)
        self._supervisor = SupervisorClient(self._run, self._timeout_seconds)

    async def observe(self) -> list[Observation]:
        """Check every program now. Raises ConnectionError if supervisord does not answer."""
        programs = await asyncio.to_thread(self._supervisor.programs)
        return await asyncio.gather(
            *(self._observe(program) for program in programs if program.name != GUARD)
        )

    async def _observe(self, program: Program) -> Observation:
        name, state, pid = program.name, program.state, program.pid
        if state not in ALIVE or not pid:
            return Observation(name, state)
        ready, tree = await asyncio.gather(self._ready(name), asyncio.to_thread(inspect_tree, pid))
        responded = ready is not None and not tree.stopped
        return Observation(name, state, pid, responded, bool(ready), tree.memory_bytes)

    async def _ready(self, name: str) -> bool | None:
        """Whether the process reports that it is ready; None if it does not answer."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if name == EXPORTER:
                    return await _serves_http(self._exporter)
                report = await self._ask(socket_path(self._run, name), self._timeout_seconds)
                return report.ready
        except (EngineFailed, OSError):  # TimeoutError is an OSError
            return None


def inspect_tree(pid: int) -> ProcessTree:
    """Measure a process and its children; empty if it has just exited.

    Memory that is shared with files is not counted (model files are mapped): it belongs to the page
    cache, which the kernel reclaims when needed.
    """
    memory_bytes, stopped = 0, False
    try:
        parent = psutil.Process(pid)
        tree = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return ProcessTree()
    for process in tree:
        try:
            with process.oneshot():
                memory = process.memory_info()
                memory_bytes += memory.rss - memory.shared
                stopped |= process.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            continue
    return ProcessTree(memory_bytes, stopped)


async def _serves_http(exporter: ExporterConfig) -> bool:
    """Request the exporter's smallest page; any response counts."""
    host = local_address(exporter.host)
    reader, writer = await asyncio.open_connection(host, exporter.port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n")
        if not await reader.readline():
            raise ConnectionResetError("closed without a response")
    finally:
        writer.close()
    return True
