"""The process that owns the network namespace of a proof, and records every packet in it.

It needs CAP_NET_ADMIN for the routes and CAP_NET_RAW for the capture. It writes lines of JSON:
`watching`, `packets` (at most once a second), and `end` after SIGTERM.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from appliance.egress_proof import probes
from appliance.egress_proof.packets import Destination, destination
from appliance.egress_proof.tally import Tally
from appliance.errors import NoProof

RECORD_SECONDS = 1.0
PROBE_SECONDS = 60.0  # for all probes on a busy machine
BUFFER_BYTES = 32 * 2**20
SNAP_BYTES = 2048  # of a packet; headers and a DNS question fit

# linux/if_packet.h, linux/if_ether.h, asm/socket.h
PACKET_OUTGOING = 4
PACKET_STATISTICS = 6
ETH_P_ALL = 3
SOL_PACKET = 263
SO_RCVBUFFORCE = 33

# linux/netlink.h, linux/rtnetlink.h
_REQUEST_CREATE_ACK = 0x1 | 0x400 | 0x4
_NEW_ROUTE, _ERROR = 24, 2
_TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL = 254, 4, 254, 2
_OUT_INTERFACE, _SOURCE = 4, 7


def route_request(family: int, interface: int, source: bytes) -> bytes:
    """Return the netlink message that makes every address of a family a local one (rtnetlink(7)).

    interface   index of the loopback device
    source      address that packets get if their socket has none
    """
    message = struct.pack(
        "=BBBBBBBBI", family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL, 0
    )
    for kind, value in ((_OUT_INTERFACE, struct.pack("=I", interface)), (_SOURCE, source)):
        message += struct.pack("=HH", 4 + len(value), kind) + value
    return struct.pack("=IHHII", 16 + len(message), _NEW_ROUTE, _REQUEST_CREATE_ACK, 1, 0) + message


def route_everything_to_loopback() -> bool:
    """Add the routes for IPv4 and IPv6. Return whether the namespace has IPv6. Raises OSError."""
    loopback = socket.if_nametoindex("lo")
    _add_route(route_request(socket.AF_INET, loopback, socket.inet_aton("127.0.0.1")))
    addresses = Path("/proc/net/if_inet6")
    if not (addresses.exists() and f"{1:032x}" in addresses.read_text(encoding="ascii")):
        return False
    source = socket.inet_pton(socket.AF_INET6, "::1")
    _add_route(route_request(socket.AF_INET6, loopback, source))
    return True


def _add_route(request: bytes) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        kernel.send(request)
        reply = kernel.recv(4096)
    kind = struct.unpack_from("=H", reply, 4)[0]
    code = -struct.unpack_from("=i", reply, 16)[0]
    if kind != _ERROR or code:
        raise OSError(code, f"the kernel refuses the route: {os.strerror(code)}")


class Capture:
    """A socket that sees every packet that a process in the namespace sends.

    dropped   packets that the kernel could not hand over, because the buffer was full
    """

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        except PermissionError:  # a rootless engine: as much as net.core.rmem_max allows
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.socket.setblocking(False)
        self.dropped = 0

    def read(self, tally: Tally) -> list[Destination]:
        """Count the packets that wait, and return the destinations of those that would leave."""
        leaving = []
        while True:
            try:
                packet, (_, ethertype, direction, *_) = self.socket.recvfrom(SNAP_BYTES)
            except BlockingIOError:
                break
            if direction == PACKET_OUTGOING:  # the loopback device shows each packet twice
                to = destination(ethertype, packet)
                tally.add(to, time.time())
                if not to.stays_here:
                    leaving.append(to)
        # Reading the statistics resets them.
        counters = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.dropped += struct.unpack("=II", counters)[1]
        return leaving


def missing_probes(run_id: str, ipv6: bool, capture: Capture, tally: Tally) -> list[str]:
    """Send the watcher's own probes from another process; return the names of those unseen."""
    command = [sys.executable, "-m", "appliance", "egress-probe", run_id, "watcher"]
    subprocess.run(command, check=True, timeout=PROBE_SECONDS)
    # A packet is in the buffer of the capture before the call that sent it returns.
    seen = set(capture.read(tally))
    probe: Mapping[str, Destination] = probes.expected(run_id, "watcher", ipv6)
    return [name for name, to in probe.items() if to not in seen]


def watch(run_id: str, out: TextIO = sys.stdout) -> int:
    """Run until SIGTERM. Raises NoProof if the watcher cannot see what it must see."""
    stop, waker = socket.socketpair()
    stop.setblocking(False)
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)  # the wake-up descriptor reports it
    tally = Tally()
    try:
        ipv6 = route_everything_to_loopback()
        capture = Capture()
    except OSError as error:
        raise NoProof(why=str(error)) from error
    if missing := missing_probes(run_id, ipv6, capture, tally):
        raise NoProof(why=f"these were sent and not seen: {', '.join(missing)}")
    _write(out, {"kind": "watching", "time": round(time.time(), 3), "ipv6": ipv6})
    selector = selectors.DefaultSelector()
    selector.register(capture.socket, selectors.EVENT_READ)
    selector.register(stop, selectors.EVENT_READ)
    due = time.monotonic()
    while not any(key.fileobj is stop for key, _ in selector.select(RECORD_SECONDS)):
        capture.read(tally)
        if time.monotonic() >= due:
            _write(out, tally.take(time.time()))
            due = time.monotonic() + RECORD_SECONDS
    capture.read(tally)
    _write(out, tally.take(time.time()))
    _write(out, {"kind": "end", "time": round(time.time(), 3), "dropped": capture.dropped})
    return 0


def _write(out: TextIO, record: Mapping[str, Any] | None) -> None:
    if record is not None:
        print(json.dumps(record), file=out, flush=True)
