"""Parse the kernel's socket tables /proc/net/{tcp,tcp6,udp,udp6}. No I/O.

The format is described in the kernel's Documentation/networking/proc_net_tcp.rst. Addresses are
hexadecimal 32-bit words in host byte order; ports are hexadecimal numbers.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass

LISTEN = 0x0A  # TCP_LISTEN of include/net/tcp_states.h
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and a port. The port is 0 if the socket is not connected."""

    address: Address
    port: int

    @classmethod
    def parse(cls, address: str, port: int) -> Endpoint:
        """Build an endpoint from a textual address. Raises ValueError."""
        return cls(ipaddress.ip_address(address), port)

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class KernelSocket:
    """One line of a socket table.

    inode    0 if no process owns the socket (TIME_WAIT)
    user     id of the user who opened the socket
    """

    family: str
    local: Endpoint
    remote: Endpoint
    state: int
    inode: int
    user: int

    def __str__(self) -> str:
        return f"{self.family.rstrip('6')} {self.local} to {self.remote}"


def parse(family: str, table: str) -> list[KernelSocket]:
    """Parse a socket table. Raises ValueError for invalid lines."""
    sockets = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10:
            raise ValueError(f"{family}: not a line of a socket table: {line[:60]!r}")
        local, remote = _parse_endpoint(fields[1]), _parse_endpoint(fields[2])
        state, user, inode = int(fields[3], 16), int(fields[7]), int(fields[9])
        sockets.append(KernelSocket(family, local, remote, state, inode, user))
    return sockets


def outbound(
    sockets: Iterable[KernelSocket], serving: Collection[int], own: Collection[Endpoint]
) -> list[KernelSocket]:
    """Return the sockets that are connected, or connecting, to another machine.

    serving   local ports whose TCP connections are incoming
    own       endpoints through which the test itself calls the appliance
    """
    return [
        each
        for each in sockets
        if each.remote.port
        and not _is_local(each.remote.address)
        and each.remote not in own
        and not (each.family.startswith("tcp") and each.local.port in serving)
    ]


def listening(sockets: Iterable[KernelSocket]) -> list[KernelSocket]:
    """Return the TCP sockets that accept connections."""
    return [each for each in sockets if each.family.startswith("tcp") and each.state == LISTEN]


def no_route_count(snmp: str, snmp6: str) -> int:
    """Return the number of packets without a route, from /proc/net/snmp and /proc/net/snmp6.

    In a network namespace without a route this counts every attempt to reach another machine,
    however short. Raises ValueError or KeyError if the counter is missing.
    """
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Ip: "))
    ipv4 = dict(zip(names, values, strict=True))["OutNoRoutes"]
    ipv6 = dict(line.split() for line in snmp6.splitlines()).get("Ip6OutNoRoutes", "0")
    return int(ipv4) + int(ipv6)


def _parse_endpoint(text: str) -> Endpoint:
    digits, _, port = text.partition(":")
    if len(digits) not in (8, 32):
        raise ValueError(f"not an address: {text[:40]!r}")
    raw = bytes.fromhex(digits)
    if sys.byteorder == "little":
        raw = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Endpoint(address, int(port, 16))


def _is_local(address: Address) -> bool:
    return address.is_loopback or address.is_unspecified
