#!/usr/bin/env python3
"""Render the configuration of HAProxy for a pool of hosts. Needs Python 3.11 and nothing else.

    ops/pool/render.py hosts.toml >haproxy.cfg      exit code 1 and a list of errors if it is wrong
    ops/pool/render.py --lua PATH hosts.toml        where HAProxy finds waiting_room.lua

docs/pool.md explains the entries of hosts.toml; haproxy.cfg.in is the template.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import string
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

FOLDER = Path(__file__).resolve().parent
LUA = "/etc/haproxy/waiting_room.lua"

# What a caller is told, in the words of the gateway: appliance/errors.py. A test compares them.
FULL = {
    "reason": "full",
    "message": "All places of the pool are taken.",
    "advice": "Try again when a session has ended, or add a host to the pool.",
}
FULL_RETRY_SECONDS = 5
DOWN = {
    "reason": "not_ready",
    "message": "No host of the pool responds.",
    "advice": "Wait until a host is up. The statistics of the pool show the state of each.",
}
DOWN_RETRY_SECONDS = 3
CONNECT_MILLISECONDS = 1000  # a host that has not accepted a connection by then is passed over
FAST_MILLISECONDS = 100  # from a failed check to the next one
LEAST_FAILED_CHECKS = 2
# If a host is gone, TCP itself ends the calls to it, this long after the checks have found it lost.
# If TCP were first, a caller could be sent to the same host again, and be cut off a second time.
TCP_LATER_MILLISECONDS = 500
SPARE_CONNECTIONS = 1000  # beside those of calls: pages, probes, callers who wait

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
# The last label must not be a number: resolvers read 10.1 and 0x7f.0x1 as addresses.
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*(?!([0-9]+|0[xX][0-9A-Fa-f]*)\Z){_LABEL}")
PATH = re.compile(r"/[A-Za-z0-9_./-]+")


class WrongFile(Exception):
    """hosts.toml is wrong. `problems` has a line for each error, with its number in the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# --- The tables of hosts.toml


def entry(kind: str, default: Any = MISSING) -> Any:
    """Declare an entry of a table. `kind` is the kind of value that `_wrong` allows."""
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, slots=True)
class PoolTable:
    """The table [pool]."""

    listen: str = entry("address:port")
    certificate: str = entry("path", "")
    ca: str = entry("path", "")
    public_ca: str = entry("path", "")
    statistics: str = entry("private address:port", "127.0.0.1:8405")
    socket: str = entry("path", "/run/haproxy/admin.sock")
    plain_callers: bool = entry("true or false", False)
    plain_hosts: bool = entry("true or false", False)


@dataclass(frozen=True, slots=True)
class TimeoutsTable:
    """The table [timeouts]. BOUNDS are the least and the largest values."""

    BOUNDS: ClassVar[Mapping[str, tuple[int, int]]] = {
        "queue_seconds": (1, 60),
        "check_milliseconds": (100, 10_000),
        "lost_seconds": (1, 60),
        "call_seconds": (60, 86_400),
    }

    queue_seconds: int = entry("number", 8)
    check_milliseconds: int = entry("number", 1000)
    lost_seconds: int = entry("number", 3)
    call_seconds: int = entry("number", 3600)


@dataclass(frozen=True, slots=True)
class HostTable:
    """A table [[host]]. BOUNDS are the least and the largest values."""

    BOUNDS: ClassVar[Mapping[str, tuple[int, int]]] = {"port": (1, 65_535), "places": (1, 1000)}

    name: str = entry("name")
    address: str = entry("address or host name")
    places: int = entry("number")
    port: int = entry("number", 8765)
    tls_name: str = entry("host name", "")
    drained: bool = entry("true or false", False)


@dataclass(frozen=True, slots=True)
class Pool:
    """A checked hosts.toml."""

    pool: PoolTable
    timeouts: TimeoutsTable
    hosts: tuple[HostTable, ...]


# --- Reading and checking it


def read(text: str) -> Pool:
    """Parse and check the text of hosts.toml. Raises WrongFile."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise WrongFile([str(problem)]) from None
    lines = Lines(text)
    problems = [
        f"{lines.of(name)}: unknown table [{name}]; known are [pool], [timeouts] and [[host]]"
        for name in tables
        if name not in ("pool", "timeouts", "host")
    ]
    pool = _table(PoolTable, tables.get("pool", {}), lines, "pool", problems)
    timeouts = _table(TimeoutsTable, tables.get("timeouts", {}), lines, "timeouts", problems)
    found = tables.get("host", [])
    if not isinstance(found, list) or not found:
        problems.append(f"{lines.of('host')}: there has to be a table [[host]] for each host")
        found = []
    hosts = [
        _table(HostTable, table, lines, "host", problems, number)
        for number, table in enumerate(found)
    ]
    if problems or pool is None or timeouts is None:
        raise WrongFile(problems)
    checked = Pool(pool, timeouts, tuple(host for host in hosts if host is not None))
    problems = list(_contradictions(checked, lines))
    if problems:
        raise WrongFile(problems)
    return checked


class Lines:
    """Finds the line of a table or of a key in a TOML file, for messages."""

    _HEADING = re.compile(r"\s*\[{1,2}\s*([\w-]+)\s*\]{1,2}")
    _KEY = re.compile(r"\s*([\w-]+)\s*=")

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, number = "", 0
        for line, words in enumerate(text.splitlines(), 1):
            if heading := self._HEADING.match(words):
                table = heading[1]
                number = counts.get(table, 0)
                counts[table] = number + 1
                self._found[table, number, ""] = line
            elif key := self._KEY.match(words):
                self._found.setdefault((table, number, key[1]), line)

    def has(self, table: str, key: str) -> bool:
        """Whether the first table of this name has the key."""
        return (table, 0, key) in self._found

    def of(self, table: str, key: str = "", number: int = 0) -> str:
        """Return "line N" of the key, else of its table."""
        for place in ((table, number, key), (table, number, ""), ("", 0, table)):
            if place in self._found:
                return f"line {self._found[place]}"
        return "line 1"


def _table(
    kind: Any, table: Any, lines: Lines, name: str, problems: list[str], number: int = 0
) -> Any:
    """Return the table as an object of `kind`, or None after adding to `problems`."""
    if not isinstance(table, dict):
        problems.append(f"{lines.of(name, number=number)}: {name} has to be a table")
        return None
    before = len(problems)
    known = {each.name: each for each in fields(kind)}
    for key, value in table.items():
        if key not in known:
            wrong = f"unknown; known are {', '.join(known)}"
        else:
            bounds = getattr(kind, "BOUNDS", {}).get(key)
            wrong = _wrong(value, known[key].metadata["kind"], bounds)
        if wrong:
            problems.append(f"{lines.of(name, key, number)}: {name}.{key}: {wrong}")
    missing = [key for key, each in known.items() if key not in table and each.default is MISSING]
    problems += [f"{lines.of(name, number=number)}: {name}.{key} is missing" for key in missing]
    return kind(**table) if len(problems) == before else None


def _wrong(value: Any, kind: str, bounds: tuple[int, int] | None) -> str:
    """Return what is wrong with a value, or ""."""
    if kind == "true or false":
        return "" if isinstance(value, bool) else "has to be true or false"
    if kind == "number":
        low, high = bounds or (0, 0)
        right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if right else f"has to be a number from {low} to {high}, not {value!r}"
    if not isinstance(value, str):
        return f"has to be a text in quotes, not {value!r}"
    advice = {
        "name": "has to be letters, digits, '.', '_' and '-'",
        "path": "has to be an absolute path of letters, digits, '.', '_' and '-'",
        "address or host name": "has to be the IP address (without a scope) or the name of a host",
        "host name": "has to be a host name, as in the host's certificate",
        "address:port": "has to be ADDRESS:PORT, such as 0.0.0.0:8765 or [::]:8765",
        "private address:port": "has to be a private ADDRESS:PORT, such as 127.0.0.1:8405: "
        "there is no password",
    }[kind]
    return "" if _matches(value, kind) else f"{advice}, not {value!r}"


def _matches(value: str, kind: str) -> bool:
    if kind == "name":
        return NAME.fullmatch(value) is not None
    if kind == "path":
        return PATH.fullmatch(value) is not None
    if kind.endswith("address:port"):
        address, port = _split(value)
        if address is None or not 1 <= port <= 65_535:
            return False
        return kind == "address:port" or (address.is_private and not address.is_unspecified)
    if (address := _address(value)) is not None:
        # HAProxy takes 0.0.0.0 for the address that the caller has connected to.
        wrong = address.is_unspecified or address.is_multicast
        return kind == "address or host name" and not wrong
    return HOST_NAME.fullmatch(value) is not None


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address. None: it is not one, or it has a scope, which HAProxy cannot resolve."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    scoped = isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None
    return None if scoped else address


def _same(host: str) -> str:
    """Return an address or a host name in the one spelling by which it is compared."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return host.lower() if address is None else str(address)


def _split(value: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address | None, int]:
    """Return the address and the port of "ADDRESS:PORT". None: they are wrong."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})", value)
    if match is None:
        return None, 0
    return _address(match[1] or match[2]), int(match[3])


def _contradictions(checked: Pool, lines: Lines) -> Iterable[str]:
    """Yield errors of entries that are valid alone, but not together."""
    pool = checked.pool
    if not pool.certificate and not pool.plain_callers:
        yield f"{lines.of('pool')}: pool.certificate is missing (or plain_callers = true)"
    if pool.certificate and pool.plain_callers:
        yield f"{lines.of('pool', 'plain_callers')}: plain_callers with a certificate: remove one"
    if not pool.ca and not pool.plain_hosts:
        yield f"{lines.of('pool')}: pool.ca is missing (or plain_hosts = true)"
    yield from _shared_socket(pool, lines)
    for number, host in enumerate(checked.hosts):
        earlier = checked.hosts[:number]
        line = lines.of("host", "name", number)
        if host.name.lower() in [each.name.lower() for each in earlier]:
            yield f"{line}: host.name: two hosts have the name {host.name!r}: rename one"
        for each in earlier:
            if (_same(host.address), host.port) == (_same(each.address), each.port):
                where = lines.of("host", "address", number)
                yield (
                    f"{where}: host.address: {host.address} with port {host.port} is that of "
                    f"{each.name!r}: remove one of the two hosts"
                )
        if _address(host.address) and not host.tls_name and not pool.plain_hosts:
            yield (
                f"{line}: host.tls_name is missing: a name in the certificate of {host.name!r}, "
                "because its address is not a name"
            )


def _shared_socket(pool: PoolTable, lines: Lines) -> Iterable[str]:
    """Yield an error if `listen` takes the address and port of `statistics`."""
    (address, port), (private, private_port) = _split(pool.listen), _split(pool.statistics)
    if address is None or private is None or port != private_port:
        return
    # 0.0.0.0 takes every IPv4 address, and :: on Linux those of IPv6 and IPv4.
    every = address.is_unspecified and (address.version == 6 or private.version == 4)
    if every or _same(str(address)) == _same(str(private)):
        key = "statistics" if lines.has("pool", "statistics") else "listen"
        yield (
            f"{lines.of('pool', key)}: pool.listen {pool.listen} takes the address and port of "
            f"pool.statistics {pool.statistics}: choose another port for one of them"
        )


# --- The configuration of HAProxy


def check_limit_milliseconds(timeouts: TimeoutsTable) -> int:
    """Return how long a host may take for the TLS handshake of a check, and then for its answer.

    HAProxy ends a handshake after the interval between two checks, whatever `timeout check` says
    (findings/haproxy-timeout-check-does-not-cover-the-tls-handshake.sh).
    """
    return min(timeouts.check_milliseconds, CONNECT_MILLISECONDS)


def failed_checks(timeouts: TimeoutsTable) -> int:
    """Return after how many failed checks in a row a host counts as lost.

    It is the largest number with which a hanging host is found within `lost_seconds`, and at least
    LEAST_FAILED_CHECKS. With a smaller number, a host that is slow for a moment would lose its
    calls. With a larger one, callers who were cut off could be sent to the hanging host again.
    """
    limit = check_limit_milliseconds(timeouts)
    # The host may begin to hang just after a check. Then: limit, pause, limit, pause, ... limit.
    left = timeouts.lost_seconds * 1000 - timeouts.check_milliseconds
    number = (left + FAST_MILLISECONDS) // (limit + FAST_MILLISECONDS)
    return max(LEAST_FAILED_CHECKS, number)


def render(checked: Pool, *, source: str = "hosts.toml", lua: str = LUA) -> str:
    """Return the configuration of HAProxy."""
    pool, timeouts = checked.pool, checked.timeouts
    places = sum(host.places for host in checked.hosts)
    template = (FOLDER / "haproxy.cfg.in").read_text(encoding="utf-8")
    return string.Template(template).substitute(
        source=source,
        # A call is one connection here, and so is a caller who waits for a place.
        connections=4 * places + SPARE_CONNECTIONS,
        socket=pool.socket,
        lua=lua,
        listen=pool.listen,
        bind_tls=f" ssl crt {pool.certificate} alpn http/1.1" if pool.certificate else "",
        scheme="https" if pool.certificate else "http",
        authority=_authority(pool),
        statistics=pool.statistics,
        connect_milliseconds=CONNECT_MILLISECONDS,
        queue_milliseconds=timeouts.queue_seconds * 1000,
        check_milliseconds=timeouts.check_milliseconds,
        check_limit_milliseconds=check_limit_milliseconds(timeouts),
        fast_milliseconds=FAST_MILLISECONDS,
        failed_checks=failed_checks(timeouts),
        call_seconds=timeouts.call_seconds,
        full_json=json.dumps(FULL),
        full_retry_seconds=FULL_RETRY_SECONDS,
        down_json=json.dumps(DOWN),
        down_retry_seconds=DOWN_RETRY_SECONDS,
        call_servers=_servers(checked, calls=True),
        page_servers=_servers(checked, calls=False),
    )


def _authority(pool: PoolTable) -> str:
    """The rule for /ca.pem: a host would send the certificate of its own authority."""
    answer = "status 404"
    if pool.public_ca:
        answer = f"status 200 content-type application/x-pem-file file {pool.public_ca}"
    return f"    http-request return {answer} if {{ path /ca.pem }}"


def _servers(checked: Pool, *, calls: bool) -> str:
    lines = []
    for host in checked.hosts:
        address = f"[{host.address}]" if ":" in host.address else host.address
        words = ["   ", "server", host.name, f"{address}:{host.port}", "check"]
        if calls:
            # tcp-ut also closes calls that a worker from before a reload still has: it runs no
            # checks. On a default-server line, HAProxy 2.6 ignores tcp-ut (measured).
            unanswered = checked.timeouts.lost_seconds * 1000 + TCP_LATER_MILLISECONDS
            words += [f"maxconn {host.places}", f"tcp-ut {unanswered}ms"]
            if host.drained:
                words.append("weight 0")
        if not checked.pool.plain_hosts:
            name = host.tls_name or host.address
            words += ["ssl", "verify required", f"ca-file {checked.pool.ca}"]
            words += [f"verifyhost {name}", f"sni str({name})"]
        lines.append(" ".join(words))
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("hosts", type=Path, help="hosts.toml")
    parser.add_argument("--lua", default=LUA, help=f"path of waiting_room.lua ({LUA})")
    options = parser.parse_args(arguments)
    try:
        text = options.hosts.read_text(encoding="utf-8")
        print(render(read(text), source=options.hosts.name, lua=options.lua), end="")
    except (OSError, UnicodeDecodeError) as problem:
        print(f"{options.hosts}: {problem}", file=sys.stderr)
        return 1
    except WrongFile as wrong:
        for line in wrong.problems:
            print(f"{options.hosts}: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
