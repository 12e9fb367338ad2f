"""Queries supervisord for the state of its programs, and tracks how that state changes."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from xml.parsers.expat import ExpatError

SOCKET = "supervisor.sock"  # in the run folder


@dataclass(frozen=True, slots=True)
class Program:
    """A program as supervisord sees it.

    state      STARTING, RUNNING, BACKOFF, FATAL, EXITED, STOPPING, STOPPED or UNKNOWN
    pid        0 if there is no process
    started    Unix time of the last start in whole seconds; 0 before the first start
    """

    name: str
    state: str
    pid: int
    started: int


class SupervisorClient:
    """supervisord's XML-RPC interface, with a time limit. Opens one connection per request."""

    def __init__(self, run: Path, timeout_seconds: float) -> None:
        self._socket = run / SOCKET
        self._timeout_seconds = timeout_seconds

    def programs(self) -> list[Program]:
        """Return all programs. Raises ConnectionError if supervisord does not answer in time."""
        transport = _UnixTransport(self._socket, self._timeout_seconds)
        try:
            with xmlrpc.client.ServerProxy("http://supervisord", transport=transport) as server:
                reply = cast(list[dict[str, Any]], server.supervisor.getAllProcessInfo())
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            raise ConnectionError(f"no answer from {self._socket}") from error
        return [
            Program(entry["name"], entry["statename"], entry["pid"], entry["start"])
            for entry in reply
        ]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("supervisord", timeout=timeout_seconds)
        self._path = path
        self._timeout_seconds = timeout_seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_seconds)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, with a time limit.

    supervisor.xmlrpc.SupervisorTransport has no time limit: a frozen supervisord would block it.
    """

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_seconds = timeout_seconds

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout_seconds)


@dataclass(frozen=True, slots=True)
class ProgramChange:
    """What happened to a program between two polls."""

    kind: Literal["started", "restarted", "running", "ended", "gave_up"]
    program: Program


class ProgramTracker:
    """Compares successive polls and counts the restarts of each program.

    A new start time or a new pid means that the program was started again. So a program that exited
    and was restarted between two polls is noticed. Polling every second misses no restart, since
    supervisord waits at least a second before it restarts a program that exited while starting.
    """

    def __init__(self, programs: Iterable[str]) -> None:
        self.restarts = dict.fromkeys(programs, 0)
        self._previous: dict[str, Program] = {}

    def update(self, programs: Iterable[Program]) -> list[ProgramChange]:
        """Return the changes since the previous poll."""
        changes: list[ProgramChange] = []
        for program in programs:
            previous = self._previous.get(program.name, Program(program.name, "STOPPED", 0, 0))
            changes.extend(self._changes(previous, program))
            self._previous[program.name] = program
        return changes

    def _changes(self, previous: Program, program: Program) -> Iterable[ProgramChange]:
        new_pid = previous.pid != 0 and program.pid != 0 and previous.pid != program.pid
        if program.started and (program.started != previous.started or new_pid):
            is_restart = previous.started != 0
            self.restarts[program.name] = self.restarts.get(program.name, 0) + is_restart
            yield ProgramChange("restarted" if is_restart else "started", program)
        if program.state == previous.state:
            return
        if program.state == "RUNNING":
            yield ProgramChange("running", program)
        if program.state in ("BACKOFF", "EXITED"):
            yield ProgramChange("ended", program)
        if program.state in ("FATAL", "UNKNOWN"):
            yield ProgramChange("gave_up", program)
