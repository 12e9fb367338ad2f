"""A network of namespaces: hosts, a proxy and callers behind one switch. Needs root."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.pool.programs import need_root, program

CLONE_NEWNET = 0x40000000  # sched.h
_NUMBERS = itertools.count(1)  # of the networks of this process


class Node:
    """A machine of the network: a namespace with one interface and one or more addresses."""

    def __init__(self, namespace: str, addresses: Sequence[str]) -> None:
        self.namespace = namespace
        self.addresses = list(addresses)

    @property
    def address(self) -> str:
        return self.addresses[0]

    def start(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a program there. The process is the program itself."""
        return subprocess.Popen([program("ip"), "netns", "exec", self.namespace, *command], **more)

    def unplug(self) -> None:
        """Let the machine vanish: nothing reaches it, and it answers nothing."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")

    def plug_in(self) -> None:
        _ip("-n", self.namespace, "link", "set", "eth0", "up")

    def connect(self, address: str, port: int, source: str = "") -> socket.socket:
        """Open a TCP connection from there. Raises OSError."""
        found: list[socket.socket] = []
        thread = threading.Thread(target=self._open_socket, args=(found,))
        thread.start()
        thread.join()
        [opened] = found
        try:
            opened.bind((source or self.address, 0))
            opened.settimeout(30)
            opened.connect((address, port))
            opened.setblocking(False)
        except OSError:
            opened.close()
            raise
        return opened

    def _open_socket(self, found: list[socket.socket]) -> None:
        """A socket belongs to the namespace of the thread that opened it (setns(2))."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.namespace}").open("rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        found.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))


class Network:
    """Namespaces with names of this process. `remove` removes them."""

    def __init__(self) -> None:
        need_root()
        self._prefix = f"pool{os.getpid()}-{next(_NUMBERS)}"
        self._namespaces: list[str] = []
        self._switch = self._namespace("switch")
        _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "br0", "up")

    def node(self, name: str, *addresses: str) -> Node:
        """Add a machine. All addresses are in 10.77.0.0/16."""
        namespace = self._namespace(name)
        port = f"p{len(self._namespaces)}"
        _ip(
            *("-n", self._switch, "link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", namespace),
        )
        _ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
        for address in addresses:
            _ip("-n", namespace, "address", "add", f"{address}/16", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return Node(namespace, addresses)

    def remove(self) -> None:
        for namespace in self._namespaces:
            _ip("netns", "delete", namespace)

    def _namespace(self, name: str) -> str:
        namespace = f"{self._prefix}-{name}"
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        return namespace


def _ip(*arguments: str) -> None:
    done = subprocess.run([program("ip"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
