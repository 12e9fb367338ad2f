"""Who talks to whom, by the kernel's lists /proc/net/{tcp,tcp6,udp,udp6}. Pure.

The format is the kernel's Documentation/networking/proc_net_tcp.rst: addresses are 32-bit words of
the host's byte order in hexadecimal, ports are hexadecimal numbers.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.supervision.supervisor_client import Program, SupervisorClient

LISTEN = 0x0A  # TCP_LISTEN of include/net/tcp_states.h
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class End:
    """An address and a port; port 0 is none."""

    address: Address
    port: int

    @classmethod
    def at(cls, address: str, port: int) -> End:
        """From the written address. Raises ValueError."""
        return cls(ipaddress.ip_address(address), port)

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket; `inode` 0 when no process has it any more (TIME_WAIT)."""

    family: str
    local: End
    remote: End
    state: int
    inode: int

    def __str__(self) -> str:
        return f"{self.family.rstrip('6')} {self.local} to {self.remote}"


def parse(family: str, table: str) -> list[Socket]:
    """The sockets of one list. Raises ValueError for what is no such list."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10:
            raise ValueError(f"{family}: not a line of the kernel's list: {line[:60]!r}")
        local, remote = _end(fields[1]), _end(fields[2])
        found.append(Socket(family, local, remote, int(fields[3], 16), int(fields[9])))
    return found


def leaving(
    sockets: Iterable[Socket], serving: Collection[int], known: Collection[End]
) -> list[Socket]:
    """The sockets by which something here talks, or tries to, to another machine.

    Connections at a port of `serving` were accepted and not made; `known` ends are the tester's
    own way to the appliance.
    """
    return [
        one
        for one in sockets
        if one.remote.port
        and not _is_here(one.remote.address)
        and one.remote not in known
        and not (one.family.startswith("tcp") and one.local.port in serving)
    ]


def listening(sockets: Iterable[Socket]) -> list[Socket]:
    """The TCP sockets that wait for connections."""
    return [one for one in sockets if one.family.startswith("tcp") and one.state == LISTEN]


def no_route_count(snmp: str, snmp6: str) -> int:
    """How often something was to be sent and there was no route, as /proc/net/snmp and snmp6 tell.

    In a namespace without a route this counts every attempt to leave, however short. Raises
    ValueError or KeyError when the kernel does not tell.
    """
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Ip: "))
    four = dict(zip(names, values, strict=True))["OutNoRoutes"]
    six = dict(line.split() for line in snmp6.splitlines()).get("Ip6OutNoRoutes", "0")
    return int(four) + int(six)


def _end(text: str) -> End:
    digits, _, port = text.partition(":")
    if len(digits) not in (8, 32):
        raise ValueError(f"no address: {text[:40]!r}")
    raw = bytes.fromhex(digits)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return End(address, int(port, 16))


def _is_here(address: Address) -> bool:
    return address.is_loopback or address.is_unspecified


ANSWER_SECONDS = 5.0


def programs(run: Path) -> dict[str, Program]:
    """Each program by name. Raises ConnectionError when supervisord does not answer."""
    found = SupervisorClient(run, ANSWER_SECONDS).programs()
    return {program.name: program for program in found}


def family(run: Path) -> list[int]:
    """The process ids of all of them, boot first. Raises ConnectionError."""
    pids = [program.pid for program in programs(run).values() if program.pid]
    for pid in pids:
        try:
            supervisor = psutil.Process(pid).parent()
            boot = supervisor.parent() if supervisor else None
            if boot is None:
                continue
            return [boot.pid, *(child.pid for child in boot.children(recursive=True))]
        except psutil.NoSuchProcess:
            continue  # It has just ended: the next one has the same parents.
    raise ConnectionError("supervisord has no process")


def sockets(pids: list[int]) -> set[int]:
    """The inodes of the sockets that these processes hold, as /proc/net lists them."""
    return {int(link[8:-1]) for pid in pids for link in _links(pid) if link.startswith("socket:[")}


def _links(pid: int) -> Iterator[str]:
    """What each open file of a process is; they come and go, and so do processes."""
    try:
        opened = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return
    for number in opened:
        try:
            yield str(number.readlink())
        except (FileNotFoundError, ProcessLookupError):
            continue
