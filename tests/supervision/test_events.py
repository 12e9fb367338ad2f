"""Parsing supervisord's event protocol, with the bytes split at every boundary."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.supervision.events import MAX_BUFFER_BYTES, BadEvent, EventParser, SupervisorEvent

# Examples from supervisor's manual.
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


def test_events_are_parsed_with_their_fields() -> None:
    tick, exited, stopping = EventParser().feed(TICK + EXITED + STOPPING)
    assert tick == SupervisorEvent("TICK_5", {"when": "1201063880"})
    assert (exited.state, exited.fields["processname"]) == ("EXITED", "cat")
    assert exited.fields["pid"] == "2766"
    assert (stopping.name, stopping.state) == ("SUPERVISOR_STATE_CHANGE_STOPPING", "")


@given(st.lists(st.integers(0, 300), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_are_split(cuts: list[int]) -> None:
    stream, parser = TICK + EXITED + STOPPING, EventParser()
    offsets = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(offsets)]
    names = [event.name for chunk in chunks for event in parser.feed(chunk)]
    assert names == ["TICK_5", "PROCESS_STATE_EXITED", "SUPERVISOR_STATE_CHANGE_STOPPING"]


@pytest.mark.parametrize("invalid", [b"hello\n", b"len:x eventname:TICK_5\n", b"len:3\n", b"\n"])
def test_invalid_header_is_rejected(invalid: bytes) -> None:
    with pytest.raises(BadEvent):
        EventParser().feed(invalid)


def test_unterminated_event_is_rejected() -> None:
    with pytest.raises(BadEvent, match="without an end"):
        EventParser().feed(b"x" * (MAX_BUFFER_BYTES + 1))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_buffered_or_rejected(data: bytes) -> None:
    try:
        EventParser().feed(data)
    except BadEvent:
        return
