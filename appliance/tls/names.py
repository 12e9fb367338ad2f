"""The names and addresses that a certificate is issued for. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from appliance.errors import BadName

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_NAME_CHARS = 253  # RFC 1035 section 2.3.4
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# Addresses that are not routed on the Internet: RFC 1918, RFC 6598, RFC 3927, RFC 1122, RFC 4193,
# RFC 4291. Whoever trusts the authority trusts it for these.
PRIVATE_NETWORKS: Sequence[Network] = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"),
    )
)


@dataclass(frozen=True, slots=True)
class HostNames:
    """DNS names in lower case, and addresses, each without duplicates, in the order given."""

    dns: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()

    def __add__(self, other: HostNames) -> HostNames:
        return HostNames(
            tuple(dict.fromkeys(self.dns + other.dns)),
            tuple(dict.fromkeys(self.addresses + other.addresses)),
        )

    def texts(self) -> list[str]:
        """Return all of them as text."""
        return [*self.dns, *map(str, self.addresses)]


LOOPBACK = HostNames(("localhost",), (ip_address("127.0.0.1"), ip_address("::1")))


def parse(texts: Iterable[str]) -> HostNames:
    """Return names and addresses given as text. Raises BadName."""
    names = HostNames()
    for text in texts:
        names += _parse_one(text.strip())
    return names


def permitted_networks(names: HostNames) -> list[Network]:
    """Return the networks for which an authority of a host with these addresses may issue."""
    networks = list(PRIVATE_NETWORKS)
    for address in names.addresses:
        if not any(_contains(network, address) for network in networks):
            networks.append(ip_network(address))
    return networks


def outside(names: HostNames, dns: Iterable[str], networks: Iterable[Network]) -> list[str]:
    """Return those of `names` that the name constraints `dns` and `networks` do not permit.

    A DNS constraint permits the name and all names below it (RFC 5280 section 4.2.1.10).
    """
    permitted, ranges = tuple(dns), tuple(networks)
    return [
        name
        for name in names.dns
        if not any(name == each or name.endswith(f".{each}") for each in permitted)
    ] + [
        str(address)
        for address in names.addresses
        if not any(_contains(network, address) for network in ranges)
    ]


def _parse_one(text: str) -> HostNames:
    try:
        return HostNames(addresses=(ip_address(text),))
    except ValueError:
        pass
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_NAME_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadName(text=text)
    if labels[-1].isdigit():  # not a name that DNS can have: a mistyped address
        raise BadName(text=text)
    return HostNames(dns=(name,))


def _contains(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network
