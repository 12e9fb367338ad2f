"""Cards as the driver tells of them, and the machines that have none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from appliance.gpu import nvml
from appliance.gpu.cards import GIB, bytes_per_second, known
from tests.fakes import NVML_A10, NVML_H100, NVML_L4, NVML_MIG, FakeNvml, NvmlAnswers

MIB = 1 << 20
Machine = Callable[..., FakeNvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes this a machine with the given cards."""

    def made(*cards: NvmlAnswers, **how: object) -> FakeNvml:
        fake = FakeNvml(*cards, **how)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
        return fake

    return made


def test_a_card_has_the_memory_that_cuda_can_use_and_what_of_it_is_free(machine: Machine) -> None:
    fake = machine(NVML_L4)
    [card] = nvml.look({}).cards
    assert card.memory_bytes == (23034 - 455) * MIB
    assert card.free_bytes == card.memory_bytes - 2 * MIB
    assert card.capability == (8, 9)
    assert (card.name, card.driver, card.uuid) == ("NVIDIA L4", "580.95.05", "GPU-14")
    assert fake.open == 0


@pytest.mark.parametrize("told", [NVML_L4, NVML_A10, NVML_H100], ids=lambda told: told.name)
def test_what_the_driver_tells_agrees_with_the_table(machine: Machine, told: NvmlAnswers) -> None:
    machine(told)
    [card] = nvml.look({}).cards
    line = known(card.name)
    assert line
    assert bytes_per_second(card) == pytest.approx(line.gigabytes_per_second * 1e9, rel=0.01)
    assert card.capability == line.capability
    assert line.gib * GIB <= card.memory_bytes < (line.gib + 0.2) * GIB


def test_of_a_divided_card_the_instances_are_the_cards(machine: Machine) -> None:
    machine(NVML_MIG)
    first, second = nvml.look({}).cards
    assert first.memory_bytes == 19968 * MIB
    assert second.uuid == "MIG-2"
    assert second.capability == (9, 0)
    assert bytes_per_second(first) == 0  # its share of the bandwidth is not told


def test_a_divided_card_without_instances_is_none_and_says_so(machine: Machine) -> None:
    machine(NvmlAnswers("X", "GPU-x", 9, 0, 0, (9, 0), 1, 1, divided=True))
    found = nvml.look({})
    assert found.cards == ()
    assert "MIG mode" in found.why


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
        ("GPU-", []),  # more than one
    ],
)
def test_cards_come_as_cuda_would_show_them(
    machine: Machine, visible: str | None, uuids: list[str]
) -> None:
    machine(NVML_L4, NVML_A10, NVML_MIG)
    found = nvml.look({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert [card.uuid for card in found.cards] == uuids
    assert bool(found.why) == (not uuids)


def test_a_container_that_was_given_no_card_has_none(machine: Machine) -> None:
    machine(NVML_L4)
    found = nvml.look({"NVIDIA_VISIBLE_DEVICES": "void"})
    assert found.cards == ()
    assert "NVIDIA_VISIBLE_DEVICES" in found.why


@pytest.mark.parametrize("why", ["Driver Not Loaded", "NVML Shared Library Not Found"])
def test_without_a_driver_there_are_no_cards_and_the_reason_is_told(
    machine: Machine, why: str
) -> None:
    machine(broken=why)
    assert nvml.look({}) == nvml.Found((), f"the driver cannot be asked: {why}")


def test_without_the_package_there_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.look({}) == nvml.Found((), "the package nvidia-ml-py is not installed")
    assert nvml.cards() == []


def test_a_machine_with_a_driver_and_no_card_says_so(machine: Machine) -> None:
    machine()
    assert nvml.look({}) == nvml.Found((), "the driver knows no card")


def test_a_lost_card_does_not_hide_the_others(machine: Machine) -> None:
    lost = NvmlAnswers("NVIDIA A10", "GPU-lost", 1, 0, 0, (8, 6), 1, 1, lost=True)
    machine(lost, NVML_L4)
    found = nvml.look({})
    assert [card.uuid for card in found.cards] == ["GPU-14"]
    assert found.why == "card 0 cannot be used: GPU is lost"


def test_an_old_driver_tells_less_and_is_enough(machine: Machine) -> None:
    machine(NVML_A10, old=True)
    [card] = nvml.look({}).cards
    assert card.memory_bytes == 23028 * MIB
    assert card.free_bytes == (23028 - 316 - 2) * MIB
    assert bytes_per_second(card) == 600e9  # of the table


def test_the_driver_is_let_go_of_when_it_fails_in_the_middle(machine: Machine) -> None:
    fake = machine(NVML_L4)
    with pytest.raises(nvml.NoDriver, match="GPU is lost"), nvml.driver() as opened:
        raise opened.NVMLError("GPU is lost")
    assert fake.open == 0


def test_the_environment_is_this_process_s_where_none_is_given(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(NVML_L4)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    assert nvml.cards() == []
