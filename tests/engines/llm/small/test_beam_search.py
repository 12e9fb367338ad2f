"""Beam search keeps the most probable texts."""

from __future__ import annotations

import numpy as np

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.beam_search import Beam, most_probable

END = 2


def rows(*probabilities: dict[int, float]) -> list[Samples]:
    """Return log-probabilities of a vocabulary of ten tokens; the other tokens have the rest."""
    found = []
    for each in probabilities:
        rest = (1 - sum(each.values())) / (10 - len(each))
        found.append(np.log([each.get(token, rest) for token in range(10)], dtype=np.float32))
    return found


def test_beam_finds_a_text_whose_first_token_is_less_probable() -> None:
    beam = Beam(width=2, end=END)
    assert beam.advance(rows({5: 0.5, 6: 0.4})) == [0, 0]
    beam.advance(rows({7: 0.3, 8: 0.3, END: 0.2}, {END: 0.9}))
    assert beam.is_done
    assert beam.best.tokens == (6,)


def test_beam_of_one_takes_the_most_probable_token() -> None:
    beam = Beam(width=1, end=END)
    assert beam.advance(rows({5: 0.5, 6: 0.4})) == [0]
    assert beam.advance(rows({END: 0.9})) == [0]
    assert (beam.is_done, beam.best.tokens, beam.best.ended) == (True, (5,), True)


def test_beam_drops_a_text_that_is_far_less_probable_than_the_best() -> None:
    beam = Beam(width=2, end=END, margin=1.0)
    assert beam.advance(rows({5: 0.6, 6: 0.3})) == [0, 0]
    assert beam.advance(rows({7: 0.6, END: 0.3}, {8: 0.3, 9: 0.2})) == [0]
    assert [each.tokens for each in beam.open] == [(5, 7)]
    assert [each.tokens for each in beam.ended] == [(5,)]


def test_most_probable_tokens_are_in_order() -> None:
    assert most_probable(np.array([0.1, 0.5, 0.2, 0.4], np.float32), 3) == [1, 3, 2]
