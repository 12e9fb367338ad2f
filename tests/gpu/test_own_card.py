"""The card of an appliance that sees several."""

from __future__ import annotations

import sys
import threading

import pytest

from appliance.gpu import nvml, own_card
from appliance.gpu.cards import GpuCard
from appliance.gpu.nvml import CardList
from tests.fakes import NVML_A10, NVML_L4, NVML_MIG, FakeNvml


def cards(*uuids: str) -> CardList:
    return CardList(tuple(GpuCard("NVIDIA L4", 24, 24, (8, 9), "580", uuid=u) for u in uuids))


def test_first_of_several_cards_is_named_to_the_programs() -> None:
    assert own_card.variables(cards("GPU-1", "GPU-2")) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-1",
    }


@pytest.mark.parametrize("uuids", [(), ("GPU-1",), ("MIG-1", "MIG-2"), ("", "")])
def test_nothing_is_named_if_there_is_no_choice(uuids: tuple[str, ...]) -> None:
    assert own_card.variables(cards(*uuids)) == {}


def test_program_with_the_variables_sees_only_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake = FakeNvml(NVML_A10, NVML_L4)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    environ = own_card.of_this_machine()
    assert [card.uuid for card in nvml.list_cards(environ).cards] == ["GPU-a10"]
    fake.change(NVML_A10)  # another card is lost
    listing = nvml.list_cards(environ)
    assert ([card.uuid for card in listing.cards], listing.problem) == (["GPU-a10"], "")
    fake.change(NVML_L4)  # its own is
    assert nvml.list_cards(environ).cards == ()


def test_card_that_the_operator_has_chosen_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(NVML_A10, NVML_L4))
    assert own_card.of_this_machine() == {}


def test_mig_instances_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(NVML_MIG))
    assert own_card.of_this_machine() == {}


def test_hung_driver_does_not_keep_the_appliance_from_starting() -> None:
    release = threading.Event()

    def hang() -> CardList:
        release.wait(30)
        return cards("GPU-1", "GPU-2")

    assert own_card.of_this_machine(hang, seconds=0.05) == {}
    release.set()
