"""What is known of cards, and which weights they are told to take."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.gpu.cards import (
    GIB,
    KNOWN,
    Card,
    asked_for,
    bytes_per_second,
    flops_per_second,
    known,
    recommended,
)


def card(name: str) -> Card:
    found = asked_for(name)
    assert found
    return found.as_card()


@pytest.mark.parametrize(
    ("told", "line"),
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
def test_a_driver_s_name_finds_its_own_line(told: str, line: str) -> None:
    found = known(told)
    assert found and found.name == line


@pytest.mark.parametrize(
    "told", ["NVIDIA L40", "NVIDIA RTX A4000", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""]
)
def test_a_card_that_is_not_in_the_table_is_not_taken_for_another(told: str) -> None:
    assert known(told) is None


@pytest.mark.parametrize("line", KNOWN, ids=lambda line: line.name)
def test_every_line_finds_itself_and_no_other(line: object) -> None:
    assert known(line.name) is line  # type: ignore[attr-defined]
    assert asked_for(line.name.lower()) is line  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "line"),
    [("L4", "NVIDIA L4"), ("a10", "NVIDIA A10"), ("4090", "NVIDIA GeForce RTX 4090")],
)
def test_a_person_may_be_short(said: str, line: str) -> None:
    found = asked_for(said)
    assert found and found.name == line


@pytest.mark.parametrize("said", ["", "NVIDIA", "A100", "H100", "80GB", "GTX 1080"])
def test_what_may_be_two_cards_or_none_is_not_guessed(said: str) -> None:
    assert asked_for(said) is None


def test_the_two_cards_of_the_product_get_what_they_can_calculate_in() -> None:
    assert recommended(card("L4"))[0] == ("fp8", "w4a16")
    assert recommended(card("A10"))[0] == ("w4a16", "int8")


def test_large_and_fast_cards_take_the_weights_as_published() -> None:
    assert recommended(card("A100-80GB"))[0][0] == "bf16"
    assert recommended(card("H200"))[0][0] == "bf16"


def test_fp8_is_never_recommended_to_a_card_that_has_none() -> None:
    for line in KNOWN:
        if line.capability < (8, 9):
            assert "fp8" not in recommended(line.as_card())[0]


def test_a_card_before_ampere_is_recommended_nothing() -> None:
    assert recommended(card("T4"))[0] == ()


def test_an_unknown_card_is_judged_by_capability_and_memory() -> None:
    ada = Card("NVIDIA RTX 5000 Ada", 31 * GIB, 31 * GIB, (8, 9), "580")
    assert recommended(ada)[0][0] == "fp8"
    small = dataclasses.replace(ada, memory_bytes=11 * GIB)
    assert recommended(small)[0] == ("w4a16",)
    assert bytes_per_second(ada) == flops_per_second(ada) == 0
