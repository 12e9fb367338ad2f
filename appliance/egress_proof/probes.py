"""Packets sent on purpose: a watcher that does not see them proves nothing. No I/O.

All addresses are for documentation only (RFC 5737, RFC 3849), and the namespace has no way out.
"""

from __future__ import annotations

from appliance.egress_proof.packets import DNS_PORT, Destination

ADDRESS, ADDRESS6, NAMESERVER = "203.0.113.77", "2001:db8::77", "192.0.2.53"
ZONE = "self-test.invalid"
SENDERS = ("watcher", "appliance")


def port_of(run_id: str, sender: str) -> int:
    """Return the port that one sender's probes use in one run, 20000..59999."""
    return 20_000 + 2 * (int(run_id, 16) % 20_000) + SENDERS.index(sender)


def name_of(run_id: str, sender: str) -> str:
    """Return the name that one sender looks up in one run."""
    return f"{sender}-{run_id}.{ZONE}"


def expected(run_id: str, sender: str, ipv6: bool) -> dict[str, Destination]:
    """Return the packets that a watcher must see of one sender, by the name of the probe."""
    port = port_of(run_id, sender)
    probes = {
        "connect over IPv4": Destination("tcp", ADDRESS, port),
        "sendto over IPv4": Destination("udp", ADDRESS, port),
        "DNS lookup": Destination("udp", NAMESERVER, DNS_PORT, name_of(run_id, sender)),
    }
    if ipv6:
        probes["connect over IPv6"] = Destination("tcp", ADDRESS6, port)
        probes["sendto over IPv6"] = Destination("udp", ADDRESS6, port)
    return probes
