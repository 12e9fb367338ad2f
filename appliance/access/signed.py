"""Signed passes that stand for a token: login cookies and tickets. No I/O.

The text of a pass is

    KIND.ID.EXPIRES.NONCE.MAC

    KIND     "vc" for a cookie, "vt" for a ticket
    ID       of the token that it stands for
    EXPIRES  seconds since 1970, UTC
    NONCE    12 bytes in base64url; a ticket is used once, and known by it. Those of a ticket are
             the mark of the process that issued it, and random bytes; those of a cookie are random
    MAC      HMAC-SHA256 of all before it, with the signing key of the token, in base64url

Every gateway that has the token has the key. When the token is revoked, its passes end with it.
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from appliance.access.token import ID, encode

COOKIE: Final = "vc"
TICKET: Final = "vt"
TICKET_SECONDS = 30
NONCE_BYTES = 12
MARK_BYTES = 6
CLOCK_DIFFERENCE_SECONDS = 5  # that is allowed between two hosts of a pool
SHARED_ID = "shared"  # stands for the token of gateway.token_file
MAX_USED_TICKETS = 20_000  # remembered until they expire
_PASS = re.compile(
    rf"(({COOKIE}|{TICKET})\.({ID.pattern}|{SHARED_ID})\.([0-9]{{1,12}})\.([A-Za-z0-9_-]{{16}}))"
    r"\.([A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass that has been read, but not checked."""

    kind: str
    token_id: str
    expires: int
    nonce: str
    signed: str
    mac: str

    def is_valid(self, kind: str, key: bytes, now: float) -> bool:
        """Whether it is of this kind, signed with `key`, and has not expired."""
        right = hmac.compare_digest(self.mac, _mac(key, self.signed))
        return right and self.kind == kind and now < self.expires


def sign(kind: str, token_id: str, expires: int, nonce: bytes, key: bytes) -> str:
    """Return the text of a pass. `nonce` has NONCE_BYTES."""
    signed = f"{kind}.{token_id}.{expires}.{encode(nonce)}"
    return f"{signed}.{_mac(key, signed)}"


def read(text: str) -> Pass | None:
    """Return the pass in a text, or None if `text` is something else."""
    match = _PASS.fullmatch(text)
    if match is None:
        return None
    signed, kind, token_id, expires, nonce, mac = match.groups()
    return Pass(kind, token_id, int(expires), nonce, signed, mac)


def _mac(key: bytes, signed: str) -> str:
    return encode(hmac.digest(key, signed.encode("ascii"), "sha256"))


class Tickets:
    """Which tickets this process takes: each once, and none that it may have taken before.

    A process does not know what was used before it started. So it takes its own tickets, which have
    its mark, and those that another host of the pool issued after that.
    """

    def __init__(self, mark: bytes, started: float, most: int = MAX_USED_TICKETS) -> None:
        """`mark`: MARK_BYTES random bytes of this process. `started`: in seconds since 1970."""
        self._mark = mark
        self._started = started
        self._most = most
        self._expiries: OrderedDict[str, int] = OrderedDict()  # of used tickets, by nonce

    def nonce(self, random: bytes) -> bytes:
        """Return the nonce of a new ticket. `random` has NONCE_BYTES - MARK_BYTES."""
        return self._mark + random

    def may_be_used(self, ticket: Pass) -> bool:
        """Whether the ticket was not used yet.

        One of another host is only taken if it was issued CLOCK_DIFFERENCE_SECONDS after the start,
        by the clock of that host: it may run ahead, and the ticket be from before the start.
        """
        issued = ticket.expires - TICKET_SECONDS
        is_own = ticket.nonce.startswith(encode(self._mark))
        is_new = is_own or issued > self._started + CLOCK_DIFFERENCE_SECONDS
        return is_new and ticket.nonce not in self._expiries

    def has_room(self, now: float) -> bool:
        """Whether one more can be remembered. Otherwise no ticket may be accepted."""
        while self._expiries and next(iter(self._expiries.values())) <= now:
            self._expiries.popitem(last=False)
        return len(self._expiries) < self._most

    def add(self, ticket: Pass) -> None:
        """Remember that a ticket was used."""
        self._expiries[ticket.nonce] = ticket.expires
