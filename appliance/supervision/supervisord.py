"""Runs supervisord: `python -m appliance.supervision.supervisord -n -c FILE`.

supervisord obeys everybody who can open its socket, and all processes of the appliance have the
same user. So the socket of this one tells its clients apart by their process ids, which the kernel
attests (SO_PEERCRED in unix(7)): a program that supervisord runs, or a child of one, can only list
the programs. Others, such as an operator's `podman exec`, may also stop and start them. A program
cannot get around this by starting a process that is not its child, if it is confined
(appliance/confinement). Files and pages are not served at all.

The memory of supervisord is hidden from the programs, too.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

import psutil
from supervisor import supervisord  # type: ignore[import-untyped]
from supervisor.options import ServerOptions  # type: ignore[import-untyped]
from supervisor.xmlrpc import supervisor_xmlrpc_handler  # type: ignore[import-untyped]

from appliance import core_dumps

_PEER_CREDENTIALS = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid


def is_program(pid: int, supervisor_pid: int) -> bool:
    """Whether a process is, or comes from, a program of supervisord.

    True also for a process that has exited: it needs no answer. `pid` is 0 for a process of the
    host, which is outside of the container's pid namespace.
    """
    if pid == 0:
        return False
    try:
        return any(parent.pid == supervisor_pid for parent in psutil.Process(pid).parents())
    except psutil.NoSuchProcess:
        return True


class ProgramListing:
    """The part of supervisord's interface that programs may use."""

    def __init__(self, interface: Any) -> None:
        self._interface = interface

    def getAllProcessInfo(self) -> Any:  # noqa: N802  # the name in supervisord's interface
        """Return the state of every program."""
        return self._interface.getAllProcessInfo()


class ProgramHandler(supervisor_xmlrpc_handler):  # type: ignore[misc]  # supervisor has no types
    """Lets programs list the programs."""

    def match(self, request: Any) -> bool:
        """Whether the request is for this handler."""
        return bool(super().match(request)) and _is_from_program(request)


class OperatorHandler(supervisor_xmlrpc_handler):  # type: ignore[misc]
    """Lets everybody else use the whole interface."""

    def match(self, request: Any) -> bool:
        """Whether the request is for this handler."""
        return bool(super().match(request)) and not _is_from_program(request)


class SupervisordOptions(ServerOptions):  # type: ignore[misc]
    """supervisord's options, with the handlers above instead of its own."""

    def make_http_servers(self, supervisor: Any) -> Any:
        """Return supervisord's servers."""
        servers = super().make_http_servers(supervisor)
        for _, server in servers:
            own = next(each for each in server.handlers if hasattr(each, "rpcinterface"))
            interface = own.rpcinterface.supervisor
            operators = OperatorHandler(supervisor, [])
            operators.rpcinterface = own.rpcinterface
            programs = ProgramHandler(supervisor, [("supervisor", ProgramListing(interface))])
            server.handlers = [programs, operators]
        return servers


def main() -> None:
    """Run supervisord with the options of the command line."""
    core_dumps.hide_memory()
    supervisord.ServerOptions = SupervisordOptions
    supervisord.main()


def _is_from_program(request: Any) -> bool:
    peer = request.channel.socket.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
    )
    return is_program(_PEER_CREDENTIALS.unpack(peer)[0], os.getpid())


if __name__ == "__main__":
    main()
