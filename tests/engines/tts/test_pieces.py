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
    Piece,
    find_words,
    one_piece,
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


SILENCE, FAINT, SPEECH = -9.0, -5.0, 4.0  # energies


def test_context_of_a_single_piece_is_the_whole_phrase() -> None:
    assert list(one_piece(20, 90, 120)) == [Piece(20, 90, 0, 120)]


@pytest.mark.parametrize(
    ("energies", "expected"),
    [
        pytest.param([SILENCE] * 20 + [SPEECH] * 40 + [SILENCE] * 30, (15, 62), id="silence"),
        pytest.param([SPEECH] * 40, (0, 40), id="no silence"),
        pytest.param([SILENCE] * 40, (0, 40), id="no speech"),
        pytest.param(
            [SILENCE] * 20 + [SPEECH] * 40 + [FAINT] * 9 + [SILENCE] * 30, (15, 71), id="faint end"
        ),
        pytest.param(
            [SILENCE] * 20 + [FAINT] * 9 + [SPEECH] * 40 + [SILENCE], (24, 70), id="faint start"
        ),
    ],
)
def test_silence_around_the_words_is_left_out(
    energies: list[float], expected: tuple[int, int]
) -> None:
    assert find_words(np.array(energies, np.float32)) == expected
