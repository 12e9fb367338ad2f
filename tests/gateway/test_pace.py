"""When the sound of a reply is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.transport import Pace, lead_seconds
from appliance.settings import Settings, TurnConfig

PIECE_SECONDS = 0.04  # as Pipecat cuts the sound


def test_the_lead_is_sent_at_once_and_then_one_piece_for_each_that_is_played() -> None:
    pace = Pace(lead_seconds=0.2)
    waits = [pace.sent(PIECE_SECONDS, now=100.0) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0, 0, PIECE_SECONDS])
    assert pace.sent(PIECE_SECONDS, now=100.0 + PIECE_SECONDS) == pytest.approx(PIECE_SECONDS)


def test_what_a_hiccup_took_is_given_back_at_once() -> None:
    pace = Pace(lead_seconds=0.2)
    for _ in range(5):
        pace.sent(PIECE_SECONDS, now=100.0)
    waits = [pace.sent(PIECE_SECONDS, now=100.12) for _ in range(4)]
    assert waits == pytest.approx([0, 0, 0, PIECE_SECONDS])


def test_without_a_lead_a_piece_follows_when_the_one_before_was_played() -> None:
    assert Pace(lead_seconds=0.0).sent(PIECE_SECONDS, now=100.0) == pytest.approx(PIECE_SECONDS)


def test_after_a_flush_the_lead_is_built_up_anew() -> None:
    pace = Pace(lead_seconds=0.2)
    for _ in range(5):
        pace.sent(PIECE_SECONDS, now=100.0)
    pace.flushed()
    waits = [pace.sent(PIECE_SECONDS, now=100.0) for _ in range(5)]
    assert waits == pytest.approx([0, 0, 0, 0, 0])


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.5)), min_size=1, max_size=30),
)
def test_the_caller_never_holds_more_than_the_lead_and_a_piece(
    lead: float, pieces: list[tuple[float, float]]
) -> None:
    pace, now, plays_until = Pace(lead), 100.0, 0.0
    for late, seconds in pieces:
        now += late
        plays_until = max(plays_until, now) + seconds
        assert plays_until - now <= lead + seconds + 1e-9
        now += pace.sent(seconds, now)


def test_in_half_duplex_nothing_is_sent_ahead() -> None:
    assert lead_seconds(Settings()) > 0
    assert lead_seconds(Settings(turn=TurnConfig(half_duplex=True))) == 0
