"""Asks supervisord over its unix socket how the processes are."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
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
