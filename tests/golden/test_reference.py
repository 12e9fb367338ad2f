"""Reconstruction of conversations from recorded cases, and the result of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.golden.comparison import Comparison
from tests.golden.reference import Reference, to_int16


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(Path(__file__).parent / "ultravox-tiny")


def test_reconstructed_conversations_match_the_recording(reference: Reference) -> None:
    conversations = {}
    for case in reference.cases:
        seconds = {utterance.id: utterance.seconds for utterance in reference.utterances(case)}
        conversations[case.name] = [
            (turn.role, turn.text, seconds[turn.utterance] if turn.utterance else 0)
            for turn in reference.conversation(case)
        ]
    assert conversations == {
        "one_1s": [("user", "", 1.0)],
        "sys_2.4s": [
            ("system", "You are a helpful assistant.", 0),
            ("user", "Transcribe", 2.37),
        ],
        "multi": [
            ("system", "You are helpful.", 0),
            ("user", "", 2.37),
            ("assistant", "hello there", 0),
            ("user", "", 5.0),
        ],
        "long45": [("user", "", 45.0)],
    }


def test_date_matches_the_recording(reference: Reference) -> None:
    assert reference.today == "26 Jul 2024"


def test_probabilities_sum_to_one(reference: Reference) -> None:
    for case in reference.cases:
        assert np.exp(case.logprobs).sum() == pytest.approx(1)
        assert case.logprobs.argmax() == case.greedy[0]


def test_loud_samples_are_clipped_and_do_not_wrap() -> None:
    samples = np.frombuffer(to_int16(np.array([1.5, -1.5], np.float32)), "<i2")
    assert samples.tolist() == [32767, -32768]


@pytest.mark.parametrize(
    ("comparison", "passes"),
    [
        (Comparison("equal", 16, 16, 0.03, 512), True),
        (Comparison("another token", 15, 16, 0.0, 512), False),
        (Comparison("too far off", 16, 16, 0.05, 512), False),
    ],
    ids=lambda value: getattr(value, "case", ""),
)
def test_case_passes_with_equal_tokens_and_close_log_probabilities(
    comparison: Comparison, passes: bool
) -> None:
    assert comparison.passes() == passes
