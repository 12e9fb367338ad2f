"""Comparison of two replies to the probe. The probe itself is tested in tests/torch/vllm."""

from __future__ import annotations

import math

import numpy as np
import pytest

from appliance.engines.llm.vllm.probe import is_close, synthesize_vowel

BASELINE = {7: -0.1, 9: -2.5, 11: -4.0}


def test_same_probabilities_are_close() -> None:
    assert is_close(BASELINE, BASELINE | {3: -6.0})


def test_rounding_differences_are_close() -> None:
    assert is_close(BASELINE, {token: value + 0.1 for token, value in BASELINE.items()})


@pytest.mark.parametrize(
    "logprobs",
    [
        {},
        {7: -0.1, 9: -2.5},
        {7: -0.1, 9: -2.5, 11: -5.0},
        dict.fromkeys(BASELINE, math.nan),
        {7: -0.1, 9: -2.5, 11: -math.inf},
    ],
    ids=["empty", "one missing", "one unlikely", "NaN", "impossible"],
)
def test_different_probabilities_are_not_close(logprobs: dict[int, float]) -> None:
    assert not is_close(BASELINE, logprobs)


def test_vowel_is_audible_finite_and_reproducible() -> None:
    one, other = synthesize_vowel(), synthesize_vowel()
    assert np.array_equal(one, other)
    assert np.isfinite(one).all()
    assert 0.05 < np.sqrt(np.mean(one**2)) < 0.5
