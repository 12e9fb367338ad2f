"""How answers are compared; asking is tested on the real engine (tests/torch/vllm)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from appliance.engines.llm.vllm.probe import alike, sound

KNOWN = {7: -0.1, 9: -2.5, 11: -4.0}


def test_the_same_answer_is_alike() -> None:
    assert alike(KNOWN, KNOWN | {3: -6.0})


def test_numbers_added_up_in_another_order_are_alike() -> None:
    assert alike(KNOWN, {token: value + 0.1 for token, value in KNOWN.items()})


@pytest.mark.parametrize(
    "now",
    [
        {},
        {7: -0.1, 9: -2.5},
        {7: -0.1, 9: -2.5, 11: -5.0},
        dict.fromkeys(KNOWN, math.nan),
        {7: -0.1, 9: -2.5, 11: -math.inf},
    ],
    ids=["nothing", "one is missing", "one is unlikely now", "no numbers", "impossible"],
)
def test_another_answer_is_not_alike(now: dict[int, float]) -> None:
    assert not alike(KNOWN, now)


def test_the_sound_is_audible_finite_and_always_the_same() -> None:
    one, other = sound(), sound()
    assert np.array_equal(one, other)
    assert np.isfinite(one).all()
    assert 0.05 < np.sqrt(np.mean(one**2)) < 0.5
