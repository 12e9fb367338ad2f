"""The limits, held against what a card can do by its data sheet."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.acceptance.report import CLASSES, CPU_P50, adjusted, limits
from appliance.errors import BadSetting
from appliance.gpu import speed
from appliance.gpu.cards import GpuCard, find_model, recommend_weights
from appliance.gpu.reference import ultravox_8b
from appliance.settings import Settings, TurnConfig, load

GPU = load({"VOICE_PROFILE": "gpu"})
END_OF_TURN, KOKORO, WAY = 0.35, 0.15, 0.10
KERNELS = 0.75  # of the bandwidth, what well-kept kernels reach


def card(name: str) -> GpuCard:
    line = find_model(name)
    assert line is not None
    return line.as_card()


def expected(of: GpuCard) -> float:
    """Voice to voice by the sum in the module's text."""
    weights = ultravox_8b(recommend_weights(of)[0][0])
    prompt = speed.prefill_seconds(of, weights, 600) + speed.encoder_seconds(of, weights, 5)
    phrase = speed.first_phrase_seconds(of, weights) / KERNELS
    return END_OF_TURN + prompt + phrase + KOKORO + WAY


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("L4", "L4, and cards not known"),
        ("A10", "A10 and alike"),
        ("A10G", "A10 and alike"),
        ("L40S", "A10 and alike"),
        ("A100-40GB", "A100 and larger"),
        ("H200", "A100 and larger"),
    ],
)
def test_a_card_has_a_quarter_more_time_than_its_data_sheet_says(name: str, kind: str) -> None:
    found, held = limits(GPU, [card(name)])
    assert found == kind
    assert held.voice_to_voice_p50 >= 1.25 * expected(card(name))


def test_no_class_is_given_more_than_its_slowest_card_explains() -> None:
    for name, of in zip(("A100-40GB", "A10G", "L4"), CLASSES, strict=True):
        assert of.voice_to_voice_p50 <= 1.25 * expected(card(name)) + 0.15


def test_p95_lets_smart_turn_wait_out_the_silence_that_is_set() -> None:
    _, held = limits(GPU, [card("L4")])
    assert held.voice_to_voice_p95 == pytest.approx(1.5 + 1.3 - 0.2)
    patient = dataclasses.replace(GPU, turn=TurnConfig(incomplete_stop_seconds=2.2))
    assert limits(patient, [card("L4")])[1].voice_to_voice_p95 == pytest.approx(3.5)


def test_an_unknown_card_is_held_against_the_slowest_class_and_none_against_cpus() -> None:
    unknown = dataclasses.replace(card("L4"), name="Something", bytes_per_second=0.0)
    assert limits(GPU, [unknown])[0] == CLASSES[-1].name
    assert limits(Settings(), [card("H200")])[1].voice_to_voice_p50 == CPU_P50
    assert limits(GPU, [])[0] == "no card"


def test_a_limit_can_be_changed_by_name_and_only_one_there_is() -> None:
    _, held = limits(Settings(), [])
    assert adjusted(held, {"recovery": 5.0}).recovery == 5
    with pytest.raises(BadSetting, match="voice_to_voice_p50"):
        adjusted(held, {"speed": 1.0})
