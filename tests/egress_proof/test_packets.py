"""Destinations of packets that were put together by hand, and of arbitrary bytes."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.egress_proof.packets import IPV4, IPV6, Destination, destination

TCP, UDP, ICMP = 6, 17, 1
# A query for "Example.invalid", type A, class IN (RFC 1035, section 4.1).
QUESTION = b"\x07Example\x07invalid\x00\x00\x01\x00\x01"
QUERY = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + QUESTION


def ports(to: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", 40_000, to, 8 + len(payload), 0) + payload


def ipv4(protocol: int, to: str, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    source = ipaddress.IPv4Address("127.0.0.1").packed
    # fmt: off
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | words, 0, 20, 1, fragment, 64, protocol, 0, source,
        ipaddress.IPv4Address(to).packed,
    )
    # fmt: on
    return head + options + payload


def ipv6(following: int, to: str, payload: bytes) -> bytes:
    source = ipaddress.IPv6Address("::1").packed
    head = struct.pack(">IHBB", 6 << 28, len(payload), following, 64)
    return head + source + ipaddress.IPv6Address(to).packed + payload


@pytest.mark.parametrize(
    ("ethertype", "packet", "wanted"),
    [
        (IPV4, ipv4(TCP, "203.0.113.7", ports(443)), Destination("tcp", "203.0.113.7", 443)),
        (IPV4, ipv4(UDP, "8.8.8.8", ports(123)), Destination("udp", "8.8.8.8", 123)),
        (IPV4, ipv4(ICMP, "8.8.8.8", b"\x08\0\0\0"), Destination("icmp", "8.8.8.8")),
        (IPV4, ipv4(99, "8.8.8.8", b"????"), Destination("ip 99", "8.8.8.8")),
        (
            IPV4,
            ipv4(UDP, "192.0.2.53", ports(53, QUERY)),
            Destination("udp", "192.0.2.53", 53, "Example.invalid"),
        ),
        (IPV6, ipv6(TCP, "2001:db8::1", ports(443)), Destination("tcp", "2001:db8::1", 443)),
        (IPV6, ipv6(58, "ff02::2", b"\x85\0\0\0"), Destination("icmpv6", "ff02::2")),
        (0x0806, b"\0\1", Destination("ethertype 0x0806")),
    ],
)
def test_packet_to_another_host_is_counted_by_destination(
    ethertype: int, packet: bytes, wanted: Destination
) -> None:
    assert destination(ethertype, packet) == wanted
    assert not wanted.stays_here


def test_options_of_ipv4_and_extensions_of_ipv6_are_skipped() -> None:
    packet = ipv4(UDP, "8.8.8.8", ports(99), options=b"\x01" * 8)
    assert destination(IPV4, packet).port == 99
    hop_by_hop = bytes([60, 0]) + bytes(6)
    options = bytes([44, 1]) + bytes(14)
    fragment = bytes([UDP, 0, 0, 1]) + bytes(4)
    packet = ipv6(0, "2001:db8::1", hop_by_hop + options + fragment + ports(99))
    assert destination(IPV6, packet) == Destination("udp", "2001:db8::1", 99)


def test_later_fragment_has_no_port_but_an_address() -> None:
    assert destination(IPV4, ipv4(UDP, "8.8.8.8", ports(99), fragment=1)) == Destination(
        "udp", "8.8.8.8"
    )
    fragment = bytes([UDP, 0, 0, 8]) + bytes(4)
    assert destination(IPV6, ipv6(44, "2001:db8::1", fragment + ports(99))) == Destination(
        "udp", "2001:db8::1"
    )


@pytest.mark.parametrize(
    ("to", "stays"),
    [
        (Destination("tcp", "127.0.0.1", 8765), True),
        (Destination("tcp", "127.255.0.9", 1), True),
        (Destination("tcp", "::1", 8765), True),
        (Destination("udp", "::ffff:127.0.0.1", 1), True),
        (Destination("udp", "::ffff:8.8.8.8", 1), False),
        (Destination("udp", "127.0.0.53", 53), False),  # a forwarder would pass it on
        (Destination("udp", "224.0.0.251", 5353), False),
        (Destination("udp", "10.0.0.1", 1), False),
        (Destination("udp", "fe80::1", 1), False),
        (Destination("malformed"), False),
    ],
)
def test_only_packets_to_loopback_stay_and_no_dns_query(to: Destination, stays: bool) -> None:
    assert to.stays_here == stays


@pytest.mark.parametrize(
    "message",
    [b"", QUERY[:12], QUERY[:15], QUERY[:12] + b"\xc0\x0c", QUERY[:12] + b"\x01a" * 200],
)
def test_query_that_cannot_be_read_is_reported_without_a_name(message: bytes) -> None:
    packet = ipv4(UDP, "192.0.2.53", ports(53, message))
    assert destination(IPV4, packet) == Destination("udp", "192.0.2.53", 53)


def test_bytes_of_a_name_cannot_write_to_a_terminal() -> None:
    message = QUERY[:12] + b"\x04\x1b[2J\x00"
    packet = ipv4(UDP, "192.0.2.53", ports(53, message))
    assert destination(IPV4, packet).name == "\\027[2J"


@given(st.sampled_from([IPV4, IPV6, 0x0806]), st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(ethertype: int, packet: bytes) -> None:
    destination(ethertype, packet)


@given(st.sampled_from([IPV4, IPV6]), st.integers(0, 39))
def test_cut_header_counts_as_leaving(ethertype: int, size: int) -> None:
    whole = {IPV4: ipv4(TCP, "127.0.0.1", b""), IPV6: ipv6(TCP, "::1", b"")}[ethertype]
    packet = whole[: min(size, len(whole) - 1)]
    assert destination(ethertype, packet) == Destination("malformed")
