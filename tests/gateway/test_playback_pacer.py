"""When the next chunk of the bot's audio is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.playback_pacer import TIMER_SECONDS, PlaybackPacer

CHUNK_SECONDS = 0.04


def test_lead_is_sent_immediately_and_then_two_chunks_for_two_that_were_played() -> None:
    pacer = PlaybackPacer(lead_seconds=0.2)
    waits = [pacer.wait_after(CHUNK_SECONDS, now=100.0) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0, 0, 2 * CHUNK_SECONDS])
    waits = [pacer.wait_after(CHUNK_SECONDS, now=100.0 + 2 * CHUNK_SECONDS) for _ in range(2)]
    assert waits == pytest.approx([0, 2 * CHUNK_SECONDS])


def test_time_lost_in_a_stall_is_recovered_immediately() -> None:
    pacer = PlaybackPacer(lead_seconds=0.2)
    for _ in range(5):
        pacer.wait_after(CHUNK_SECONDS, now=100.0)
    waits = [pacer.wait_after(CHUNK_SECONDS, now=100.12) for _ in range(4)]
    assert waits == pytest.approx([0, 0, 0, 2 * CHUNK_SECONDS])


def test_without_a_lead_a_chunk_is_due_when_the_previous_one_was_played() -> None:
    wait = PlaybackPacer(lead_seconds=0.0).wait_after(CHUNK_SECONDS, now=100.0)
    assert wait == pytest.approx(CHUNK_SECONDS)


def test_chunk_longer_than_a_burst_waits_only_until_the_lead_is_left() -> None:
    wait = PlaybackPacer(lead_seconds=0.2).wait_after(0.5, now=100.0)
    assert wait == pytest.approx(0.3)


@given(st.floats(0.01, 1), st.floats(0.01, 0.5))
def test_client_is_never_left_without_audio(lead: float, chunk_seconds: float) -> None:
    pacer, now = PlaybackPacer(lead), 100.0
    for _ in range(20):
        wait = pacer.wait_after(chunk_seconds, now)
        assert wait <= pacer.unplayed_seconds(now) + 1e-9
        now += wait


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
        assert playback_end - now < lead + seconds + TIMER_SECONDS
        now += pacer.wait_after(seconds, now)
