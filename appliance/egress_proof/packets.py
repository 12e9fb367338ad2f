"""Where an IP packet goes: protocol, address, port, and the name that a DNS query asks for. No I/O.

Formats: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 1035 (DNS).
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

IPV4, IPV6 = 0x0800, 0x86DD  # EtherTypes
DNS_PORT = 53
_TCP, _UDP = 6, 17
_PROTOCOLS = {1: "icmp", _TCP: "tcp", _UDP: "udp", 58: "icmpv6", 132: "sctp"}
_FRAGMENT = 44
_EXTENSIONS = {0, 43, 60, _FRAGMENT}  # IPv6 headers that another header follows
_MAX_LABELS = 128  # a name has at most 255 bytes


@dataclass(frozen=True, slots=True, order=True)
class Destination:
    """Where a packet goes.

    protocol   tcp, udp, icmp, icmpv6, sctp, `ip NUMBER`, `ethertype 0xNNNN`, or `malformed`
    address    IPv4 or IPv6 address; empty if the packet has none
    port       0 if the protocol has no ports, or in a later fragment
    name       the name that a DNS query over UDP asks for; otherwise empty
    """

    protocol: str
    address: str = ""
    port: int = 0
    name: str = ""

    @property
    def stays_here(self) -> bool:
        """Whether the packet stays in its network namespace.

        A DNS query to a loopback address does not count as staying: it is an attempt to resolve a
        name with a local forwarder, which would pass it on.
        """
        if not self.address or self.port == DNS_PORT:
            return False
        address = ipaddress.ip_address(self.address)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback


def destination(ethertype: int, packet: bytes) -> Destination:
    """Return the destination of a packet without its link header. Never raises."""
    try:
        if ethertype == IPV4:
            return _ipv4(packet)
        if ethertype == IPV6:
            return _ipv6(packet)
    except (IndexError, struct.error):
        return Destination("malformed")
    return Destination(f"ethertype 0x{ethertype:04x}")


def _ipv4(packet: bytes) -> Destination:
    header_bytes = (packet[0] & 15) * 4
    address = str(ipaddress.IPv4Address(struct.unpack_from("4s", packet, 16)[0]))
    is_later_fragment = struct.unpack_from(">H", packet, 6)[0] & 0x1FFF
    return _transport(packet[9], address, b"" if is_later_fragment else packet[header_bytes:])


def _ipv6(packet: bytes) -> Destination:
    address = str(ipaddress.IPv6Address(struct.unpack_from("16s", packet, 24)[0]))
    protocol, at = packet[6], 40
    while protocol in _EXTENSIONS:
        following = packet[at]
        if protocol == _FRAGMENT:
            if struct.unpack_from(">H", packet, at + 2)[0] >> 3:
                return _transport(following, address, b"")
            at += 8
        else:
            at += 8 + 8 * packet[at + 1]
        protocol = following
    return _transport(protocol, address, packet[at:])


def _transport(protocol: int, address: str, payload: bytes) -> Destination:
    name = _PROTOCOLS.get(protocol, f"ip {protocol}")
    if protocol not in (_TCP, _UDP, 132) or len(payload) < 4:
        return Destination(name, address)
    port = struct.unpack_from(">H", payload, 2)[0]
    query = _queried_name(payload[8:]) if protocol == _UDP and port == DNS_PORT else ""
    return Destination(name, address, port, query)


def _queried_name(message: bytes) -> str:
    """Return the first name of a DNS query; empty if the message has none that can be read."""
    labels: list[str] = []
    at = 12
    while at < len(message) and len(labels) < _MAX_LABELS:
        length = message[at]
        if length == 0:
            return ".".join(labels)
        label = message[at + 1 : at + 1 + length]
        if length > 63 or len(label) < length:
            return ""
        # Any byte is allowed in a label: print only ASCII, and escape the rest.
        labels.append("".join(chr(b) if 33 <= b < 127 else f"\\{b:03d}" for b in label))
        at += 1 + length
    return ""
