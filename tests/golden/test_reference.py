"""The recorded cases, read back as the conversations they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.golden.comparison import Verdict
from tests.golden.reference import Reference, to_int16


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(Path(__file__).parent / "ultravox-tiny")


def test_the_conversations_are_those_the_reference_was_asked(reference: Reference) -> None:
    told = {
        case.name: [
            (said.role, said.text, said.utterance.seconds if said.utterance else 0)
            for said in reference.conversation(case)
        ]
        for case in reference.cases
    }
    assert told == {
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


def test_the_date_is_the_one_of_the_recording(reference: Reference) -> None:
    assert reference.today == "26 Jul 2024"


def test_the_probabilities_add_up(reference: Reference) -> None:
    for case in reference.cases:
        assert np.exp(case.logprobs).sum() == pytest.approx(1)
        assert case.logprobs.argmax() == case.greedy[0]


def test_loud_samples_are_clipped_and_not_wrapped() -> None:
    samples = np.frombuffer(to_int16(np.array([1.5, -1.5], np.float32)), "<i2")
    assert samples.tolist() == [32767, -32768]


@pytest.mark.parametrize(
    ("verdict", "passes"),
    [
        (Verdict("equal", 16, 16, 0.03, 512), True),
        (Verdict("another token", 15, 16, 0.0, 512), False),
        (Verdict("too far off", 16, 16, 0.05, 512), False),
    ],
    ids=lambda value: getattr(value, "case", ""),
)
def test_a_case_passes_when_tokens_are_equal_and_probabilities_close(
    verdict: Verdict, passes: bool
) -> None:
    assert verdict.passes() == passes
