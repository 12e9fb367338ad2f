"""Cards as the driver reports them, and machines without any."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from appliance.gpu import nvml
from appliance.gpu.cards import GIB, bytes_per_second, model_of
from tests.fakes import NVML_A10, NVML_H100, NVML_L4, NVML_MIG, FakeNvml, NvmlAnswers

MIB = 1 << 20
Machine = Callable[..., FakeNvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """`machine(*cards)`: give this machine these cards."""

    def install(*cards: NvmlAnswers, **options: object) -> FakeNvml:
        fake = FakeNvml(*cards, **options)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return install


def test_memory_is_what_cuda_can_use_and_how_much_of_it_is_free(machine: Machine) -> None:
    fake = machine(NVML_L4)
    [card] = nvml.list_cards({}).cards
    assert card.memory_bytes == (23034 - 455) * MIB
    assert card.free_bytes == card.memory_bytes - 2 * MIB
    assert card.capability == (8, 9)
    assert (card.name, card.driver, card.uuid) == ("NVIDIA L4", "580.95.05", "GPU-14")
    assert fake.open == 0


@pytest.mark.parametrize("answers", [NVML_L4, NVML_A10, NVML_H100], ids=lambda card: card.name)
def test_driver_agrees_with_the_table_of_models(machine: Machine, answers: NvmlAnswers) -> None:
    machine(answers)
    [card] = nvml.list_cards({}).cards
    model = model_of(card.name)
    assert model
    assert bytes_per_second(card) == pytest.approx(model.gigabytes_per_second * 1e9, rel=0.01)
    assert card.capability == model.capability
    assert model.gib * GIB <= card.memory_bytes < (model.gib + 0.2) * GIB


def test_mig_instances_are_listed_in_place_of_their_card(machine: Machine) -> None:
    machine(NVML_MIG)
    first, second = nvml.list_cards({}).cards
    assert first.memory_bytes == 19968 * MIB
    assert second.uuid == "MIG-2"
    assert second.capability == (9, 0)
    assert bytes_per_second(first) == 0  # NVML does not report its share of the bandwidth


def test_card_in_mig_mode_without_instances_is_a_problem(machine: Machine) -> None:
    machine(NvmlAnswers("X", "GPU-x", 9, 0, 0, (9, 0), 1, 1, divided=True))
    listing = nvml.list_cards({})
    assert listing.cards == ()
    assert "MIG mode" in listing.problem


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, ["GPU-14", "GPU-a10", "MIG-1", "MIG-2"]),
        ("1,0", ["GPU-a10", "GPU-14"]),
        ("GPU-a1", ["GPU-a10"]),
        ("MIG-2", ["MIG-2"]),
        ("0,7,1", ["GPU-14"]),  # as in CUDA, the first wrong entry ends the list
        ("", []),
        ("-1", []),
        ("GPU-", []),  # ambiguous
    ],
)
def test_cards_are_listed_as_cuda_shows_them(
    machine: Machine, visible: str | None, uuids: list[str]
) -> None:
    machine(NVML_L4, NVML_A10, NVML_MIG)
    listing = nvml.list_cards({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert [card.uuid for card in listing.cards] == uuids
    assert bool(listing.problem) == (not uuids)


def test_container_without_assigned_cards_has_none(machine: Machine) -> None:
    machine(NVML_L4)
    listing = nvml.list_cards({"NVIDIA_VISIBLE_DEVICES": "void"})
    assert listing.cards == ()
    assert "NVIDIA_VISIBLE_DEVICES" in listing.problem


@pytest.mark.parametrize("problem", ["Driver Not Loaded", "NVML Shared Library Not Found"])
def test_machine_without_a_driver_has_no_cards_and_a_reason(machine: Machine, problem: str) -> None:
    machine(broken=problem)
    assert nvml.list_cards({}) == nvml.CardList((), f"the driver cannot be opened: {problem}")


def test_machine_without_the_package_has_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.list_cards({}) == nvml.CardList((), "the package nvidia-ml-py is not installed")


def test_machine_with_a_driver_but_no_card_has_a_reason(machine: Machine) -> None:
    machine()
    assert nvml.list_cards({}) == nvml.CardList((), "the driver lists no card")


def test_lost_card_does_not_hide_the_others(machine: Machine) -> None:
    lost = NvmlAnswers("NVIDIA A10", "GPU-lost", 1, 0, 0, (8, 6), 1, 1, lost=True)
    machine(lost, NVML_L4)
    listing = nvml.list_cards({})
    assert [card.uuid for card in listing.cards] == ["GPU-14"]
    assert listing.problem == "card 0 cannot be used: GPU is lost"


def test_old_driver_reports_less_but_enough(machine: Machine) -> None:
    machine(NVML_A10, old=True)
    [card] = nvml.list_cards({}).cards
    assert card.memory_bytes == 23028 * MIB
    assert card.free_bytes == (23028 - 316 - 2) * MIB
    assert bytes_per_second(card) == 600e9  # from the table


def test_driver_is_closed_if_it_fails_while_open(machine: Machine) -> None:
    fake = machine(NVML_L4)
    with pytest.raises(nvml.NoDriver, match="GPU is lost"), nvml.open_driver() as opened:
        raise opened.NVMLError("GPU is lost")
    assert fake.open == 0


def test_environment_defaults_to_that_of_this_process(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(NVML_L4)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    assert nvml.list_cards().cards == ()
