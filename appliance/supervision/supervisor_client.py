"""Asks supervisord over its unix socket how the processes are."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from xml.parsers.expat import ExpatError

GUARD = "guard"  # the event listener
PROGRAMS = (GUARD, "exporter", "tts", "llm", "gateway")  # supervisord.conf's start order
SOCKET = "supervisor.sock"  # in the run folder


@dataclass(frozen=True, slots=True)
class Program:
    """A program as supervisord sees it.

    state      STARTING, RUNNING, BACKOFF, FATAL, EXITED, STOPPING, STOPPED or UNKNOWN
    pid        0 when there is no process
    started    Unix time of the last start in whole seconds, 0 before the first
    """

    name: str
    state: str
    pid: int
    started: int


class SupervisorClient:
    """supervisord's XML-RPC interface with a time limit; one short connection per question."""

    def __init__(self, run: Path, timeout_seconds: float) -> None:
        self._socket = run / SOCKET
        self._timeout_seconds = timeout_seconds

    def programs(self) -> list[Program]:
        """All programs. Raises ConnectionError when supervisord does not answer in time."""
        transport = _UnixTransport(self._socket, self._timeout_seconds)
        try:
            with xmlrpc.client.ServerProxy("http://supervisord", transport=transport) as server:
                answer = cast(list[dict[str, Any]], server.supervisor.getAllProcessInfo())
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as problem:
            raise ConnectionError(f"no answer from {self._socket}") from problem
        return [
            Program(entry["name"], entry["statename"], entry["pid"], entry["start"])
            for entry in answer
        ]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("supervisord", timeout=timeout_seconds)
        self._path = path
        self._limit = timeout_seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._limit)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """supervisor.xmlrpc.SupervisorTransport has no time limit: a frozen supervisord would hang."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_seconds = timeout_seconds

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout_seconds)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a program between two looks."""

    kind: Literal["started", "restarted", "running", "ended", "gave_up"]
    program: Program


class Watch:
    """Compares looks and counts the restarts of each program.

    Starts are told apart by supervisord's start time and the pid, so a program that died and came
    back between two looks is noticed. Looks a second apart miss none, since supervisord waits a
    second or more before it tries again what did not stay up.
    """

    def __init__(self, programs: Iterable[str]) -> None:
        self.restarts = dict.fromkeys(programs, 0)
        self._last: dict[str, Program] = {}

    def look(self, programs: Iterable[Program]) -> list[Change]:
        """What changed since the last look."""
        changes: list[Change] = []
        for now in programs:
            before = self._last.get(now.name, Program(now.name, "STOPPED", 0, 0))
            changes.extend(self._changes(before, now))
            self._last[now.name] = now
        return changes

    def _changes(self, before: Program, now: Program) -> Iterable[Change]:
        other_pid = before.pid != 0 and now.pid != 0 and before.pid != now.pid
        if now.started and (now.started != before.started or other_pid):
            again = before.started != 0
            self.restarts[now.name] = self.restarts.get(now.name, 0) + again
            yield Change("restarted" if again else "started", now)
        if now.state == before.state:
            return
        if now.state == "RUNNING":
            yield Change("running", now)
        if now.state in ("BACKOFF", "EXITED"):
            yield Change("ended", now)
        if now.state in ("FATAL", "UNKNOWN"):
            yield Change("gave_up", now)
