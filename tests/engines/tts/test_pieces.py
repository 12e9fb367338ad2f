"""Pieces of a phrase that are vocoded one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.tts.pieces import (
    CONTEXT_FRAMES,
    MIN_PIECE_FRAMES,
    PIECE_FRAMES,
    find_words,
    plan_pieces,
)


@given(st.integers(0, 50), st.integers(1, 900), st.integers(0, 50))
def test_pieces_cover_the_words_once_with_context(lead: int, words: int, tail: int) -> None:
    frames = lead + words + tail
    pieces = list(plan_pieces(lead, lead + words, frames))
    assert [piece.start for piece in pieces] == [lead, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == lead + words
    for piece in pieces:
        assert piece.first == max(0, piece.start - CONTEXT_FRAMES)
        assert piece.last == min(frames, piece.stop + CONTEXT_FRAMES)
        assert piece.stop - piece.start < PIECE_FRAMES[-1] + MIN_PIECE_FRAMES


def test_first_piece_is_the_shortest_so_that_it_is_soon_available() -> None:
    sizes = [piece.stop - piece.start for piece in plan_pieces(0, 400, 400)]
    assert sizes[: len(PIECE_FRAMES)] == list(PIECE_FRAMES) == sorted(PIECE_FRAMES)


@pytest.mark.parametrize(
    ("durations", "speed", "ends_with_mark", "expected"),
    [
        pytest.param([19, 5, 20, 7, 1], 1.0, True, (26, 88), id="silence on both sides"),
        pytest.param([19, 5, 20, 7, 1], 1.0, False, (26, 104), id="the last token is a sound"),
        pytest.param([19, 5, 20, 7, 1], 0.7, True, (14, 88), id="slow speech begins earlier"),
        pytest.param([1, 5, 45, 1, 0], 1.0, False, (0, 104), id="no silence"),
        pytest.param([48, 0, 0, 3, 1], 1.0, True, (0, 104), id="hardly any word"),
    ],
)
def test_silence_around_the_words_is_left_out(
    durations: list[int], speed: float, ends_with_mark: bool, expected: tuple[int, int]
) -> None:
    assert sum(durations) * 2 == 104
    assert find_words(np.array(durations, np.float32), 104, speed, ends_with_mark) == expected
