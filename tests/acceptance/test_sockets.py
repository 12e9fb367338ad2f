"""Parsing of the kernel's socket tables."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from appliance.acceptance.sockets import Endpoint, listening, no_route_count, outbound, parse

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
pytestmark = pytest.mark.skipif(
    sys.byteorder == "big", reason="the recorded lines are little endian"
)


def line(local: str, remote: str, state: str = "01", inode: int = 7) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"


LISTENING = line("00000000:223D", "00000000:0000", "0A")
OWN = line("0100007F:8000", "0100007F:223D")
CALLER = line("0A00000A:223D", "2900000A:C001")
OUT = line("0A00000A:9C40", "08080808:01BB", "02")
OUT6 = line("B80D0120000000000000000002000000:9C40", "B80D0120000000000000000001000000:0035", "07")
MAPPED = line("0000000000000000FFFF00000A00000A:9C40", "0000000000000000FFFF000008080808:0050")
LOOP6 = line("00000000000000000000000001000000:1", "00000000000000000000000001000000:2")
SERVING = {8765, 9465}


def test_only_connections_to_another_machine_are_outbound() -> None:
    tcp = parse("tcp", HEAD + LISTENING + OWN + CALLER + OUT)
    assert [str(each) for each in outbound(tcp, SERVING, ())] == [
        "tcp 10.0.0.10:40000 to 8.8.8.8:443"
    ]
    six = parse("tcp6", HEAD + MAPPED + LOOP6)
    assert [str(each) for each in outbound(six, SERVING, ())] == [
        "tcp 10.0.0.10:40000 to 8.8.8.8:80"
    ]


def test_dns_query_is_outbound() -> None:
    udp = parse("udp6", HEAD + OUT6)
    assert [str(each) for each in outbound(udp, {0x9C40}, ())] == [
        "udp [2001:db8::2]:40000 to [2001:db8::1]:53"
    ]


def test_calls_of_the_test_caller_are_not_outbound() -> None:
    tcp = parse("tcp", HEAD + OUT)
    assert outbound(tcp, SERVING, {Endpoint.parse("8.8.8.8", 443)}) == []
    assert outbound(tcp, SERVING, {Endpoint.parse("8.8.8.8", 80)}) == tcp


def test_listening_sockets_are_listed() -> None:
    assert [each.local.port for each in listening(parse("tcp", HEAD + LISTENING + OWN))] == [8765]


def test_table_of_this_machine_is_parsed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            sockets = parse("tcp", Path("/proc/self/net/tcp").read_text())
            client_port = client.getsockname()[1]
    # A connection that has just closed may have used the same local port.
    assert f"127.0.0.1:{port}" in [
        str(each.remote) for each in sockets if each.local.port == client_port
    ]
    assert port in [each.local.port for each in listening(sockets)]


@pytest.mark.parametrize("broken", ["one two\n", line("0100:1", "00000000:0000")])
def test_invalid_line_is_an_error(broken: str) -> None:
    with pytest.raises(ValueError, match=r"line|address"):
        parse("tcp", HEAD + broken)


def test_packets_without_a_route_are_summed_over_ipv4_and_ipv6() -> None:
    snmp = "Ip: Forwarding OutNoRoutes\nIp: 2 5\nTcp: RtoMin\nTcp: 200\n"
    assert no_route_count(snmp, "Ip6InReceives 9\nIp6OutNoRoutes 2\n") == 7
    assert no_route_count(snmp, "") == 5
    with pytest.raises(KeyError):
        no_route_count("Ip: Forwarding\nIp: 2\n", "")
