"""Recognitions of the same speech vote by their probabilities."""

from __future__ import annotations

import numpy as np

from appliance.engines.llm.small.beam_search import Hypothesis
from appliance.engines.llm.small.vote import spoken_key, vote


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
