"""Limits of a connection before it is known who made it: head bytes, lines, places. No I/O."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import Generic, TypeVar

MAX_HEAD_BYTES = 16_384  # request line and headers together; a browser sends less than 2 KiB
MAX_HEAD_LINES = 64
MAX_LINE_BYTES = 8_000  # below the limit of the websockets library (8192)
END_OF_HEAD = b"\r\n\r\n"
IPV6_PREFIX = 64  # bits of the prefix that a network assigns to one customer
NAME_CHARS = 64  # that are kept of the name that a trusted proxy sent

Guest = TypeVar("Guest")


class HeadTooLarge(Exception):
    """The head of a request has too many bytes or lines. It is refused with 431."""


class HeadReader:
    """Collects the head of one HTTP request, so that a parser sees a complete, short head or none.

    A parser that is fed piece by piece spends time and memory on each piece: httptools copies a
    header value as often as a new piece of it arrives.
    """

    def __init__(self) -> None:
        self._head = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Add received bytes. Return the complete head and what came after it, or None.

        Raises HeadTooLarge. Never keeps more than MAX_HEAD_BYTES.
        """
        searched = max(0, len(self._head) - len(END_OF_HEAD) + 1)
        room = MAX_HEAD_BYTES - len(self._head)
        self._head += data[:room]
        end = self._head.find(END_OF_HEAD, searched)
        if end < 0:
            if len(data) >= room:
                raise HeadTooLarge
            return None
        head = bytes(self._head[: end + len(END_OF_HEAD)])
        rest = bytes(self._head[len(head) :]) + data[room:]
        self._head.clear()
        lines = head.split(b"\n")
        if len(lines) > MAX_HEAD_LINES or max(map(len, lines)) > MAX_LINE_BYTES:
            raise HeadTooLarge
        return head, rest


def network_of(address: str) -> str:
    """Return what clients at `address` are counted by: an IPv4 address, or an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a name that a trusted proxy has sent
        return address[:NAME_CHARS]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed.packed, IPV6_PREFIX), strict=False))


class WaitingRoom(Generic[Guest]):
    """A number of places for connections. When it is full, a newcomer takes a place of the busiest.

    The address with the most places loses its oldest one. So an address that fills the room only
    displaces itself, and a newcomer always gets a place. The addresses of an IPv6 network are one.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._guests: dict[Guest, str] = {}
        self._by_address: defaultdict[str, dict[Guest, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest, address: str) -> Guest | None:
        """Give a guest from `address` a place. Return the guest who loses its place, if any."""
        address = network_of(address)
        leaving = None
        if len(self._guests) >= self._places:
            # The newcomer counts, too: of addresses with equally many places, its own gives way.
            busiest = max(
                self._by_address, key=lambda a: len(self._by_address[a]) + (a == address) / 2
            )
            leaving = next(iter(self._by_address[busiest]))
            self.leave(leaving)
        self._guests[guest] = address
        self._by_address[address][guest] = None
        return leaving

    def leave(self, guest: Guest) -> None:
        """Free the place of a guest. A guest without a place is ignored."""
        address = self._guests.pop(guest, None)
        if address is None:
            return
        del self._by_address[address][guest]
        if not self._by_address[address]:
            del self._by_address[address]
