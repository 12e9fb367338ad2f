"""The command `egress-probe`: sends the packets of `probes`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from appliance.egress_proof.probes import ADDRESS, ADDRESS6, name_of, port_of

SECONDS = 2.0  # for one probe; nothing answers


def send(run_id: str, sender: str) -> None:
    """Send every probe once. That all of them fail is expected."""
    port = port_of(run_id, sender)
    for family, address in ((socket.AF_INET, ADDRESS), (socket.AF_INET6, ADDRESS6)):
        _attempt(lambda f=family, a=address: _connect(f, a, port))  # type: ignore[misc]
        _attempt(lambda f=family, a=address: _sendto(f, a, port))  # type: ignore[misc]
    _attempt(lambda: socket.getaddrinfo(name_of(run_id, sender), port, socket.AF_INET))


def _attempt(probe: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        probe()


def _connect(family: int, address: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(SECONDS)
        probe.connect((address, port))


def _sendto(family: int, address: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"self-test", (address, port))
