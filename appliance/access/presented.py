"""The credential in a request: an access token, a ticket or a login cookie. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

COOKIE_NAME = "__Host-voice"
MAX_COOKIE_CHARS = 8_192
Kind = Literal["bearer", "ticket", "cookie", "none"]


@dataclass(frozen=True, slots=True)
class Presented:
    """One proof of a request, which has not been checked yet."""

    kind: Kind
    text: str = ""


NOTHING = Presented("none")


def presented(
    authorization: Sequence[str], tickets: Sequence[str] = (), cookies: Sequence[str] = ()
) -> Presented:
    """Return what a request presents.

    The arguments are all values of its `Authorization` headers, `token` parameters and `Cookie`
    headers. A token or ticket counts before a cookie, which browsers always send. A request that
    presents two tokens or tickets, or the cookie twice, presents nothing.
    """
    explicit = [*(Presented("bearer", each) for each in authorization)]
    explicit += [Presented("ticket", each) for each in tickets]
    if explicit:
        return _bearer(explicit[0]) if len(explicit) == 1 else NOTHING
    values = cookie_values("; ".join(cookies))
    return Presented("cookie", values[0]) if len(values) == 1 else NOTHING


def cookie_values(header: str, name: str = COOKIE_NAME) -> list[str]:
    """Return the values of a cookie in a `Cookie` header (RFC 6265)."""
    if len(header) > MAX_COOKIE_CHARS:
        return []
    pairs = (pair.strip(" \t").partition("=") for pair in header.split(";"))
    return [value for key, separator, value in pairs if separator and key == name]


def own_origin(scheme: str, hosts: Sequence[str]) -> str:
    """Return the web origin that a request was sent to, or "".

    `scheme` is that of the request, `hosts` has the values of its `Host` headers.
    """
    if len(hosts) != 1 or not hosts[0]:
        return ""
    return f"{'https' if scheme in ('https', 'wss') else 'http'}://{hosts[0].lower()}"


def _bearer(proof: Presented) -> Presented:
    if proof.kind != "bearer":
        return proof
    scheme, separator, text = proof.text.partition(" ")
    return Presented("bearer", text) if scheme == "Bearer" and separator else NOTHING
