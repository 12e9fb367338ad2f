"""What the guard sees of the processes: their state, whether they answer, what memory they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from appliance.errors import EngineFailed
from appliance.settings import ExporterConfig, Settings
from appliance.supervision.health import HERE
from appliance.supervision.supervisor_client import GUARD, Program, SupervisorClient
from appliance.supervision.symptoms import ALIVE, Sight

ANSWER_SECONDS = 2.0  # for one answer, of supervisord or a program


class Health(Protocol):
    """What a process tells of itself; the engine link's client returns one."""

    @property
    def ready(self) -> bool: ...


Ask = Callable[[Path, float], Awaitable[Health]]


@dataclass(frozen=True, slots=True)
class Body:
    """A process with its children: memory of their own, and whether one was halted by a signal."""

    memory_bytes: int = 0
    halted: bool = False


class Observer:
    """Looks at all programs but the guard. `ask` raises EngineFailed where there is no answer."""

    def __init__(self, given: Settings, ask: Ask) -> None:
        self._run = given.paths.run
        self._exporter = given.exporter
        self._ask = ask
        self._answer_seconds = min(ANSWER_SECONDS, given.supervision.silent_seconds / 3)
        self._supervisor = SupervisorClient(self._run, self._answer_seconds)

    async def sights(self) -> list[Sight]:
        """Every program, seen now. Raises ConnectionError when supervisord does not answer."""
        programs = await asyncio.to_thread(self._supervisor.programs)
        return await asyncio.gather(*(self._sight(it) for it in programs if it.name != GUARD))

    async def _sight(self, program: Program) -> Sight:
        name, state, pid = program.name, program.state, program.pid
        if state not in ALIVE or not pid:
            return Sight(name, state)
        ready, body = await asyncio.gather(self._ready(name), asyncio.to_thread(body_of, pid))
        answers = ready is not None and not body.halted
        return Sight(name, state, pid, answers, bool(ready), body.memory_bytes)

    async def _ready(self, name: str) -> bool | None:
        """Whether it says that it is ready; None when it does not answer."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                if name == "exporter":
                    return await _serves(self._exporter)
                path = self._run / f"{name}.sock"
                return (await self._ask(path, self._answer_seconds)).ready
        except (EngineFailed, OSError):  # of which TimeoutError is one
            return None


def body_of(pid: int) -> Body:
    """A process and its children; an empty one when it has just gone.

    What is shared with files (model files are mapped) belongs to the page cache, which takes it
    back when it is needed; so it is not counted.
    """
    memory_bytes, halted = 0, False
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return Body()
    for process in family:
        try:
            with process.oneshot():
                held = process.memory_info()
                memory_bytes += held.rss - held.shared
                halted |= process.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            continue
    return Body(memory_bytes, halted)


async def _serves(exporter: ExporterConfig) -> bool:
    """Asks the exporter for its smallest page; any answer is one."""
    host = HERE.get(exporter.host, exporter.host)
    reader, writer = await asyncio.open_connection(host, exporter.port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n")
        if not await reader.readline():
            raise ConnectionResetError("closed without an answer")
    finally:
        writer.close()
    return True
