"""The table of card models, and which weights each is recommended."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.gpu.cards import (
    CARD_MODELS,
    GIB,
    CardModel,
    GpuCard,
    bytes_per_second,
    find_model,
    flops_per_second,
    model_of,
    recommend_weights,
)


def card(name: str) -> GpuCard:
    model = find_model(name)
    assert model
    return model.as_card()


@pytest.mark.parametrize(
    ("driver_name", "model_name"),
    [
        ("NVIDIA A10", "NVIDIA A10"),
        ("NVIDIA A10G", "NVIDIA A10G"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100-80GB"),
        ("NVIDIA A100-PCIE-40GB", "NVIDIA A100-40GB"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe"),
    ],
)
def test_driver_name_finds_its_model(driver_name: str, model_name: str) -> None:
    model = model_of(driver_name)
    assert model and model.name == model_name


@pytest.mark.parametrize(
    "driver_name", ["NVIDIA L40", "NVIDIA RTX A4000", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""]
)
def test_card_outside_the_table_is_not_mistaken_for_another(driver_name: str) -> None:
    assert model_of(driver_name) is None


@pytest.mark.parametrize("model", CARD_MODELS, ids=lambda model: model.name)
def test_every_model_is_found_by_its_own_names(model: CardModel) -> None:
    assert model_of(model.name) is model
    assert find_model(model.name.lower()) is model
    assert find_model(model.short_name) is model


@pytest.mark.parametrize(
    ("name", "model_name"),
    [("L4", "NVIDIA L4"), ("a10", "NVIDIA A10"), ("4090", "NVIDIA GeForce RTX 4090")],
)
def test_person_may_use_a_short_name(name: str, model_name: str) -> None:
    model = find_model(name)
    assert model and model.name == model_name


@pytest.mark.parametrize("name", ["", "NVIDIA", "A100", "H100", "80GB", "GTX 1080"])
def test_ambiguous_or_unknown_name_finds_no_model(name: str) -> None:
    assert find_model(name) is None


def test_l4_and_a10_get_weights_that_they_can_compute_in() -> None:
    assert recommend_weights(card("L4"))[0] == ("fp8", "w4a16")
    assert recommend_weights(card("A10"))[0] == ("w4a16", "int8")


def test_large_and_fast_cards_get_the_published_weights() -> None:
    assert recommend_weights(card("A100-80GB"))[0][0] == "bf16"
    assert recommend_weights(card("H200"))[0][0] == "bf16"


def test_fp8_is_never_recommended_for_a_card_without_it() -> None:
    for model in CARD_MODELS:
        if model.capability < (8, 9):
            assert "fp8" not in recommend_weights(model.as_card())[0]


def test_no_weights_are_recommended_for_a_card_before_ampere() -> None:
    assert recommend_weights(card("T4"))[0] == ()


def test_unknown_card_is_judged_by_capability_and_memory() -> None:
    ada = GpuCard("NVIDIA RTX 5000 Ada", 31 * GIB, 31 * GIB, (8, 9), "580")
    assert recommend_weights(ada)[0][0] == "fp8"
    small = dataclasses.replace(ada, memory_bytes=11 * GIB)
    assert recommend_weights(small)[0] == ("w4a16",)
    assert bytes_per_second(ada) == flops_per_second(ada) == 0
