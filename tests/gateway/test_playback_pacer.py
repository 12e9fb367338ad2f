"""When the next chunk of the bot's audio is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.playback_pacer import PlaybackPacer

CHUNK_SECONDS = 0.04


def test_lead_is_sent_immediately_and_then_one_chunk_per_chunk_played() -> None:
    pacer = PlaybackPacer(lead_seconds=0.2)
    waits = [pacer.wait_after(CHUNK_SECONDS, now=100.0) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0, 0, CHUNK_SECONDS])
    assert pacer.wait_after(CHUNK_SECONDS, now=100.0 + CHUNK_SECONDS) == pytest.approx(
        CHUNK_SECONDS
    )


def test_time_lost_in_a_stall_is_recovered_immediately() -> None:
    pacer = PlaybackPacer(lead_seconds=0.2)
    for _ in range(5):
        pacer.wait_after(CHUNK_SECONDS, now=100.0)
    waits = [pacer.wait_after(CHUNK_SECONDS, now=100.12) for _ in range(4)]
    assert waits == pytest.approx([0, 0, 0, CHUNK_SECONDS])


def test_without_a_lead_a_chunk_is_due_when_the_previous_one_was_played() -> None:
    wait = PlaybackPacer(lead_seconds=0.0).wait_after(CHUNK_SECONDS, now=100.0)
    assert wait == pytest.approx(CHUNK_SECONDS)


def test_lead_is_built_up_again_after_a_flush() -> None:
    pacer = PlaybackPacer(lead_seconds=0.2)
    for _ in range(5):
        pacer.wait_after(CHUNK_SECONDS, now=100.0)
    pacer.flush()
    waits = [pacer.wait_after(CHUNK_SECONDS, now=100.0) for _ in range(5)]
    assert waits == pytest.approx([0, 0, 0, 0, 0])


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.5)), min_size=1, max_size=30),
)
def test_client_never_buffers_more_than_the_lead_and_one_chunk(
    lead: float, chunks: list[tuple[float, float]]
) -> None:
    pacer, now, playback_end = PlaybackPacer(lead), 100.0, 0.0
    for delay, seconds in chunks:
        now += delay
        playback_end = max(playback_end, now) + seconds
        assert playback_end - now <= lead + seconds + 1e-9
        now += pacer.wait_after(seconds, now)
