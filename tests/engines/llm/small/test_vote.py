"""Recognitions of the same speech vote by their probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.small.beam_search import Hypothesis
from appliance.engines.llm.small.vote import repeats_word, spoken_key, vote


def test_texts_with_the_same_words_vote_together() -> None:
    ballots = [
        [("Twin.", Hypothesis((1,), np.log(0.4))), ("Twelve.", Hypothesis((2,), np.log(0.3)))],
        [("12.", Hypothesis((3,), np.log(0.2))), ("Twin!", Hypothesis((4,), np.log(0.05)))],
    ]
    assert vote(ballots)[0] == "Twelve."


def test_hundred_may_be_written_as_a_number() -> None:
    ballots = [
        [
            ("Hundreds.", Hypothesis((1,), np.log(0.4))),
            ("Hundredth.", Hypothesis((2,), np.log(0.3))),
        ],
        [("100th.", Hypothesis((3,), np.log(0.2)))],
    ]
    assert vote(ballots)[0] == "Hundredth."
    assert spoken_key("100") == spoken_key("One hundred") == "hundred"
    assert spoken_key("1") == "one"


@pytest.mark.parametrize("text", ["5s, 5s, 5s, 1, 2, 3.", "One, 1-2.", "No. No!", "I had had it."])
def test_word_that_follows_itself_is_a_repetition(text: str) -> None:
    assert repeats_word(text)


@pytest.mark.parametrize("text", ["", "Two.", "1, 2, 1, 2", "5th, 5", "Bye, by the way."])
def test_word_that_occurs_again_later_is_not_a_repetition(text: str) -> None:
    assert not repeats_word(text)
