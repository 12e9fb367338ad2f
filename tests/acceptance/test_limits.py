"""The latency limits, compared with the speed of each GPU according to its data sheet."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from appliance.acceptance.limits import (
    CLASSES,
    CPU_P50_SECONDS,
    CPU_P95_SECONDS,
    AcceptanceLimits,
    limits_for,
)
from appliance.acceptance.options import LIMITS
from appliance.gpu import speed
from appliance.gpu.cards import GpuCard, find_model, recommend_weights
from appliance.gpu.reference import ultravox_8b
from appliance.settings import Settings, TurnConfig, load

GPU = load({"VOICE_PROFILE": "gpu"})
END_OF_TURN_SECONDS, SYNTHESIS_SECONDS, TRANSPORT_SECONDS = 0.35, 0.15, 0.10
BANDWIDTH_USE = 0.75  # share of the memory bandwidth that efficient kernels reach


def gpu(name: str) -> GpuCard:
    known = find_model(name)
    assert known is not None
    return known.as_card()


def expected_seconds(gpu: GpuCard) -> float:
    """Return voice-to-voice seconds: end of turn, prefill, first phrase, synthesis, transport."""
    model = ultravox_8b(recommend_weights(gpu)[0][0])
    prefill = speed.prefill_seconds(gpu, model, 600) + speed.encoder_seconds(gpu, model, 5)
    phrase = speed.first_phrase_seconds(gpu, model) / BANDWIDTH_USE
    return END_OF_TURN_SECONDS + prefill + phrase + SYNTHESIS_SECONDS + TRANSPORT_SECONDS


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("L4", "L4 and unknown GPUs"),
        ("A10", "A10 and similar"),
        ("A10G", "A10 and similar"),
        ("L40S", "A10 and similar"),
        ("A100-40GB", "A100 and larger"),
        ("H200", "A100 and larger"),
    ],
)
def test_limit_is_at_least_a_quarter_above_the_expected_latency(name: str, class_name: str) -> None:
    actual_class, limits = limits_for(GPU, [gpu(name)])
    assert actual_class == class_name
    assert limits.voice_to_voice_p50 >= 1.25 * expected_seconds(gpu(name))


def test_limit_of_a_class_is_close_to_the_latency_of_its_slowest_gpu() -> None:
    for name, card_class in zip(("A100-40GB", "A10G", "L4"), CLASSES, strict=True):
        assert card_class.voice_to_voice_p50 <= 1.25 * expected_seconds(gpu(name)) + 0.15


def test_p95_includes_the_silence_that_smart_turn_waits_for() -> None:
    _, limits = limits_for(GPU, [gpu("L4")])
    assert limits.voice_to_voice_p95 == pytest.approx(1.5 + 1.5 - 0.2)
    slow_endpointing = dataclasses.replace(GPU, turn=TurnConfig(incomplete_stop_seconds=2.2))
    assert limits_for(slow_endpointing, [gpu("L4")])[1].voice_to_voice_p95 == pytest.approx(3.5)


def test_unknown_gpu_gets_the_slowest_class_and_no_gpu_gets_cpu_limits() -> None:
    unknown = dataclasses.replace(gpu("L4"), name="Something", bytes_per_second=0.0)
    assert limits_for(GPU, [unknown])[0] == CLASSES[-1].name
    assert limits_for(Settings(), [gpu("H200")])[1].voice_to_voice_p50 == CPU_P50_SECONDS
    assert limits_for(GPU, [])[0] == "no GPU"


def test_appliance_that_passes_answers_within_the_bound_of_its_objective() -> None:
    rules = (Path(__file__).resolve().parents[2] / "ops/monitoring/rules.yml").read_text("utf-8")
    bounds = re.findall(r'latency_seconds_bucket\{le="([\d.]+)"\}\[30m\]', rules)
    assert max(map(float, bounds)) == CPU_P95_SECONDS  # the other bound is that of `gpu`


def test_every_limit_can_be_replaced_on_the_command_line() -> None:
    assert [field.name for field in dataclasses.fields(AcceptanceLimits)] == list(LIMITS)
