"""Limits of speed, against the arithmetic done by hand."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.gpu import speed
from appliance.gpu.cards import KNOWN, Card, asked_for
from appliance.gpu.reference import KINDS, ultravox_8b


def card(name: str) -> Card:
    found = asked_for(name)
    assert found
    return found.as_card()


@pytest.mark.parametrize(
    ("name", "kind", "tokens_per_second"),
    [("L4", "bf16", 20), ("L4", "fp8", 37), ("L4", "w4a16", 64.5), ("A10", "w4a16", 129)],
)
def test_one_reply_is_as_fast_as_the_weights_are_read(
    name: str, kind: str, tokens_per_second: float
) -> None:
    step = speed.seconds_per_token(card(name), ultravox_8b(kind))
    assert 1 / step == pytest.approx(tokens_per_second, rel=0.01)


def test_replies_together_read_the_weights_once_and_each_its_own_past() -> None:
    alone = speed.seconds_per_token(card("L4"), ultravox_8b("fp8"), 1, 500_000_000)
    eight = speed.seconds_per_token(card("L4"), ultravox_8b("fp8"), 8, 500_000_000)
    assert eight - alone == pytest.approx(7 * 0.5e9 / 300e9)


def test_the_first_phrase_is_twelve_tokens() -> None:
    assert speed.first_phrase_seconds(card("L4"), ultravox_8b("fp8")) == pytest.approx(0.32, 0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_multiply_with_the_same_number_of_weights(kind: str) -> None:
    assert speed.language_parameters(ultravox_8b(kind)) == pytest.approx(7.505e9, rel=1e-3)


def test_a_short_prompt_costs_one_pass_over_the_weights_and_a_long_one_its_arithmetic() -> None:
    l4, model = card("L4"), ultravox_8b("fp8")
    assert speed.prefill_seconds(l4, model, 10) == speed.seconds_per_token(l4, model)
    assert speed.prefill_seconds(l4, model, 600) == pytest.approx(2 * 7.505e9 * 600 / 60.5e12, 0.01)
    assert speed.encoder_seconds(l4, model, 5) == pytest.approx(0.319e12 / 60.5e12, rel=0.01)


def test_of_an_unknown_card_no_speed_is_said() -> None:
    unknown = dataclasses.replace(card("L4"), name="NVIDIA X", bytes_per_second=0.0)
    model = ultravox_8b("fp8")
    assert speed.first_phrase_seconds(unknown, model) == 0
    assert speed.prefill_seconds(unknown, model, 600) == 0
    assert speed.encoder_seconds(unknown, model, 5) == 0
    assert speed.batched_tokens(unknown, model) == 512


def test_a_step_of_a_long_prompt_does_not_hold_up_the_others_for_long() -> None:
    for line in KNOWN:
        one = line.as_card()
        tokens = speed.batched_tokens(one, ultravox_8b("bf16"))
        assert tokens == 512 or speed.prefill_seconds(one, ultravox_8b("bf16"), tokens) <= 0.2
