"""Heads of requests and places for strangers are bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.limits import (
    MAX_HEAD_BYTES,
    MAX_HEAD_LINES,
    MAX_LINE_BYTES,
    HeadReader,
    HeadTooLarge,
    WaitingRoom,
)

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def test_many_addresses_of_one_ipv6_network_displace_only_each_other() -> None:
    room: WaitingRoom[int] = WaitingRoom(3)
    assert room.enter(0, "192.0.2.1") is None
    assert room.enter(1, "2001:db8::1") is None
    assert room.enter(2, "2001:db8::2") is None
    assert [room.enter(number, f"2001:db8::{number}") for number in range(3, 9)] == [*range(1, 7)]


@given(st.lists(st.integers(1, 5), max_size=60), st.binary(max_size=20))
def test_head_is_found_however_it_is_cut(sizes: list[int], rest: bytes) -> None:
    reader, data = HeadReader(), HEAD + rest
    for size in sizes:
        piece, data = data[:size], data[size:]
        if found := reader.feed(piece):
            assert found[0] == HEAD
            assert found[1] + data == rest
            return
    found = reader.feed(data)
    assert found == (HEAD, rest)


def test_what_follows_the_head_may_be_larger_than_a_head() -> None:
    body = bytes(3 * MAX_HEAD_BYTES)
    assert HeadReader().feed(HEAD + body) == (HEAD, body)


def test_endless_head_is_refused_in_one_piece_and_in_many() -> None:
    endless = b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES
    with pytest.raises(HeadTooLarge):
        HeadReader().feed(endless)
    reader = HeadReader()
    for byte in endless[: MAX_HEAD_BYTES - 1]:
        assert reader.feed(bytes([byte])) is None
    with pytest.raises(HeadTooLarge):
        reader.feed(b"a")


@pytest.mark.parametrize(
    "headers",
    [b"X: " + b"a" * MAX_LINE_BYTES + b"\r\n", b"X: a\r\n" * MAX_HEAD_LINES],
    ids=["long line", "many lines"],
)
def test_head_with_a_long_line_or_many_lines_is_refused(headers: bytes) -> None:
    with pytest.raises(HeadTooLarge):
        HeadReader().feed(b"GET / HTTP/1.1\r\n" + headers + b"\r\n")


def test_newcomer_displaces_the_oldest_guest_of_the_busiest_address() -> None:
    room: WaitingRoom[str] = WaitingRoom(3)
    assert room.enter("a1", "a") is None
    assert room.enter("b1", "b") is None
    assert room.enter("b2", "b") is None
    assert room.enter("c1", "c") == "b1"
    assert room.enter("a2", "a") == "a1"  # all have one place: the newcomer's own address
    room.leave("a2")
    room.leave("a2")
    assert room.enter("d1", "d") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=200))
def test_room_never_has_more_guests_than_places(moves: list[tuple[int, bool]]) -> None:
    room: WaitingRoom[int] = WaitingRoom(5)
    present: Counter[int] = Counter()
    for number, (address, enters) in enumerate(moves):
        if enters:
            present[number] = 1
            leaving = room.enter(number, str(address % 3))
            if leaving is not None:
                del present[leaving]
        elif present:
            guest = next(iter(present))
            del present[guest]
            room.leave(guest)
        assert len(room) == len(present) <= 5
