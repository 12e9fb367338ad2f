"""Speed limits, compared with arithmetic by hand."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.gpu import speed
from appliance.gpu.cards import CARD_MODELS, GpuCard, find_model
from appliance.gpu.reference import KINDS, ultravox_8b


def card(name: str) -> GpuCard:
    model = find_model(name)
    assert model
    return model.as_card()


@pytest.mark.parametrize(
    ("name", "kind", "tokens_per_second"),
    [("L4", "bf16", 20), ("L4", "fp8", 37), ("L4", "w4a16", 64.5), ("A10", "w4a16", 129)],
)
def test_decoding_one_reply_is_limited_by_reading_the_weights(
    name: str, kind: str, tokens_per_second: float
) -> None:
    step = speed.seconds_per_token(card(name), ultravox_8b(kind))
    assert 1 / step == pytest.approx(tokens_per_second, rel=0.01)


def test_batched_replies_share_the_weights_but_not_their_kv_cache() -> None:
    one = speed.seconds_per_token(card("L4"), ultravox_8b("fp8"), 1, 500_000_000)
    eight = speed.seconds_per_token(card("L4"), ultravox_8b("fp8"), 8, 500_000_000)
    assert eight - one == pytest.approx(7 * 0.5e9 / 300e9)


def test_first_phrase_is_twelve_tokens() -> None:
    assert speed.first_phrase_seconds(card("L4"), ultravox_8b("fp8")) == pytest.approx(0.32, 0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_same_number_of_weights(kind: str) -> None:
    assert speed.language_model_parameters(ultravox_8b(kind)) == pytest.approx(7.505e9, rel=1e-3)


def test_prefill_is_limited_by_bandwidth_if_short_and_by_arithmetic_if_long() -> None:
    l4, model = card("L4"), ultravox_8b("fp8")
    assert speed.prefill_seconds(l4, model, 10) == speed.seconds_per_token(l4, model)
    assert speed.prefill_seconds(l4, model, 600) == pytest.approx(2 * 7.505e9 * 600 / 60.5e12, 0.01)
    assert speed.encoder_seconds(l4, model, 5) == pytest.approx(0.319e12 / 60.5e12, rel=0.01)


def test_speed_of_an_unknown_card_is_unknown() -> None:
    unknown = dataclasses.replace(card("L4"), name="NVIDIA X", bytes_per_second=0.0)
    model = ultravox_8b("fp8")
    assert speed.first_phrase_seconds(unknown, model) == 0
    assert speed.prefill_seconds(unknown, model, 600) == 0
    assert speed.encoder_seconds(unknown, model, 5) == 0
    assert speed.batched_tokens(unknown, model) == 512


def test_prefill_step_delays_other_replies_by_at_most_200_ms() -> None:
    for model in CARD_MODELS:
        card = model.as_card()
        tokens = speed.batched_tokens(card, ultravox_8b("bf16"))
        assert tokens == 512 or speed.prefill_seconds(card, ultravox_8b("bf16"), tokens) <= 0.2
