"""A network namespace for one test: its gateway and its browser run there, and nothing gets out.

It has a network card, so a browser takes itself for connected, and tries what it would try
elsewhere. Every address outside the card's network is routed to the loopback device, where each
attempt is seen. `appliance/egress_proof` does the same for the appliance. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.egress_proof.packets import IPV4, IPV6, Destination, destination
from appliance.egress_proof.watcher import (
    PACKET_OUTGOING,
    SNAP_BYTES,
    Capture,
    route_everything_to_loopback,
)
from tests.pool.programs import need_root, program, unable

CLONE_NEWNET = 0x40000000  # sched.h
CARD, ADDRESS = "eth0", "192.0.2.7/24"  # RFC 5737: no host has it
NAME_SERVER = "198.51.100.53"
POLL_SECONDS = 0.02
_TCP, _SYN, _ACK = 6, 0x02, 0x10


class SealedNetwork:
    """What was tried in the namespace.

    prefix   starts a program with a resolver that asks NAME_SERVER
    """

    def __init__(self, resolv_conf: Path) -> None:
        self._capture = Capture()
        bind = f"mount --bind {resolv_conf} /etc/resolv.conf"
        self.prefix = [program("unshare"), "--mount", "sh", "-c", f'{bind} && exec "$@"', "sh"]

    def tried(self) -> set[Destination]:
        """Return where connections were opened and datagrams were sent since the last time."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (_, ethertype, direction, *_) = self._capture.socket.recvfrom(SNAP_BYTES)
                # The loopback device shows each packet twice.
                if direction == PACKET_OUTGOING and not _continues(ethertype, packet):
                    found.add(destination(ethertype, packet))
        return {to for to in found if not _is_of_the_card(to)}

    def close(self) -> None:
        self._capture.socket.close()


@contextlib.contextmanager
def sealed_network() -> Iterator[SealedNetwork]:
    """Move this thread into a namespace of its own; the programs that it starts are there, too."""
    need_root()
    ip = program("ip", "iproute2")
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before, tempfile.TemporaryDirectory() as at:
        if libc.unshare(CLONE_NEWNET) != 0:
            unable(f"NO NETWORK NAMESPACE CAN BE MADE: {os.strerror(ctypes.get_errno())}")
        try:
            for command in (
                "link set lo up",
                f"link add {CARD} type veth peer name cable",
                # No addresses of the cards' own: a browser drops the page that it loads when one
                # comes (ERR_NETWORK_CHANGED), and the kernel tries each for 1 or 2 s (RFC 4862).
                "link set cable addrgenmode none",
                f"link set {CARD} addrgenmode none",
                "link set cable up",
                f"link set {CARD} up",
                f"address add {ADDRESS} dev {CARD}",
            ):
                subprocess.run([ip, *command.split()], check=True)
            _wait_until_up(ip)
            route_everything_to_loopback()
            resolv_conf = Path(at) / "resolv.conf"
            resolv_conf.write_text(f"nameserver {NAME_SERVER}\n")
            network = SealedNetwork(resolv_conf)
            try:
                yield network
            finally:
                network.close()
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET) != 0:
                os._exit(1)  # every later test would run without a network


def _wait_until_up(ip: str) -> None:
    """Wait until the kernel has reported that the card is connected: a change, too."""
    while True:
        shown = subprocess.run(
            [ip, "-o", "link", "show", "dev", CARD], check=True, capture_output=True, text=True
        )
        if " state UP " in shown.stdout:
            return
        time.sleep(POLL_SECONDS)


def _continues(ethertype: int, packet: bytes) -> bool:
    """Whether the packet belongs to a TCP connection that was opened before."""
    if ethertype == IPV4 and packet[9] == _TCP:
        header_bytes = (packet[0] & 15) * 4
    elif ethertype == IPV6 and packet[6] == _TCP:
        header_bytes = 40
    else:
        return False
    return packet[header_bytes + 13] & (_SYN | _ACK) != _SYN


def _is_of_the_card(to: Destination) -> bool:
    """Whether the kernel itself sent it, because a card has come up (RFC 4861, RFC 3810)."""
    return to.protocol == "icmpv6"
