"""supervisord's event protocol, cut and put together in every way."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.supervision.events import MAX_BYTES, BadEvent, Event, Reader

# As supervisor's manual shows them.
TICK = (
    b"ver:3.0 server:supervisor serial:20 pool:guard poolserial:9 eventname:TICK_5 len:15\n"
    b"when:1201063880"
)
EXITED = (
    b"ver:3.0 server:supervisor serial:21 pool:guard poolserial:10 "
    b"eventname:PROCESS_STATE_EXITED len:68\n"
    b"processname:cat groupname:cat from_state:RUNNING expected:0 pid:2766"
)
STOPPING = (
    b"ver:3.0 server:supervisor serial:22 pool:guard poolserial:11 "
    b"eventname:SUPERVISOR_STATE_CHANGE_STOPPING len:0\n"
)


def test_events_are_read_with_their_fields() -> None:
    tick, exited, stopping = Reader().feed(TICK + EXITED + STOPPING)
    assert tick == Event("TICK_5", {"when": "1201063880"})
    assert (exited.state, exited.fields["processname"]) == ("EXITED", "cat")
    assert exited.fields["pid"] == "2766"
    assert (stopping.name, stopping.state) == ("SUPERVISOR_STATE_CHANGE_STOPPING", "")


@given(st.lists(st.integers(0, 300), max_size=20))
def test_it_does_not_matter_how_the_bytes_arrive(cuts: list[int]) -> None:
    whole, reader = TICK + EXITED + STOPPING, Reader()
    places = [0, *sorted(cut % len(whole) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(places)]
    found = [event.name for piece in pieces for event in reader.feed(piece)]
    assert found == ["TICK_5", "PROCESS_STATE_EXITED", "SUPERVISOR_STATE_CHANGE_STOPPING"]


@pytest.mark.parametrize("nonsense", [b"hello\n", b"len:x eventname:TICK_5\n", b"len:3\n", b"\n"])
def test_anything_else_is_refused(nonsense: bytes) -> None:
    with pytest.raises(BadEvent):
        Reader().feed(nonsense)


def test_an_event_that_never_ends_is_refused() -> None:
    with pytest.raises(BadEvent, match="without an end"):
        Reader().feed(b"x" * (MAX_BYTES + 1))


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_wait_or_be_refused(anything: bytes) -> None:
    try:
        Reader().feed(anything)
    except BadEvent:
        return
