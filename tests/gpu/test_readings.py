"""What is read of each card, and what is left when one falls off the bus."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator

import pytest

from appliance import journal
from appliance.gpu.readings import MOST_EVENTS, Driver, Sight
from appliance.settings import Settings
from tests.fakes import NVML_A10, NVML_L4, NVML_MIG, FakeNvml, NvmlAnswers

MIB = 1 << 20
LOST = dataclasses.replace(NVML_A10, lost=True)
Machine = Callable[..., FakeNvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes this a machine with the given cards."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)

    def made(*cards: NvmlAnswers, **how: object) -> FakeNvml:
        fake = FakeNvml(*cards, **how)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
        return fake

    return made


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """The journal of this process, strict."""
    stream = io.BytesIO()
    journal.configure(Settings().journal, "exporter", stream=stream, strict=True)
    yield stream


def test_a_card_is_read_in_base_units(machine: Machine) -> None:
    machine(NVML_L4)
    sight = Driver().look()
    (reading,) = sight.readings
    assert sight.complete
    assert (reading.number, reading.card.name, reading.card.uuid) == (0, "NVIDIA L4", "GPU-14")
    assert reading.sm_clock_hertz == 2_040_000_000
    assert reading.temperature_celsius == 55
    assert reading.power_watts == 71.5
    assert reading.utilization_ratio == 0.37
    assert reading.card.memory_bytes - reading.card.free_bytes == 2 * MIB
    assert reading.last_xid == 0


def test_the_driver_stays_open_while_all_is_well_and_is_let_go_at_the_end(machine: Machine) -> None:
    fake, driver = machine(NVML_L4), Driver()
    for _ in range(3):
        assert driver.look().complete
    assert (fake.open, len(fake.event_sets)) == (1, 1)
    driver.close()
    assert (fake.open, len(fake.event_sets)) == (0, 0)


def test_errors_between_two_looks_are_seen_and_the_last_one_stays(
    machine: Machine, log: io.BytesIO
) -> None:
    fake, driver = machine(NVML_L4, NVML_A10), Driver()
    driver.look()
    fake.xids["GPU-a10"] = [13, 31]
    for _ in range(2):
        assert [reading.last_xid for reading in driver.look().readings] == [0, 31]
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["device"], line["error"]) for line in told] == [
        ("GPU-a10", "xid 13"),
        ("GPU-a10", "xid 31"),
    ]


def test_a_card_that_reports_without_end_holds_up_nothing(
    machine: Machine, log: io.BytesIO
) -> None:
    fake, driver = machine(NVML_L4), Driver()
    fake.xids["GPU-14"] = [1] * (MOST_EVENTS + 5)
    driver.look()
    assert len(fake.xids["GPU-14"]) == 5


def test_a_card_that_falls_off_the_bus_vanishes_and_the_other_keeps_its_number(
    machine: Machine, log: io.BytesIO
) -> None:
    fake, driver = machine(NVML_A10, NVML_L4), Driver()
    assert [reading.number for reading in driver.look().readings] == [0, 1]
    fake.xids["GPU-14"] = [79]
    driver.look()
    fake.change(LOST, NVML_L4)
    sight = driver.look()
    assert not sight.complete
    assert [(it.number, it.card.uuid, it.last_xid) for it in sight.readings] == [(1, "GPU-14", 79)]
    fake.change(NVML_L4)  # a driver that has forgotten it does not make it well
    assert not driver.look().complete
    fake.change(NVML_A10, NVML_L4)
    assert driver.look().complete
    assert driver.look().readings[1].last_xid == 79
    driver.close()
    assert fake.open == 0


def test_a_driver_that_gives_up_in_the_middle_is_no_defect_of_ours(machine: Machine) -> None:
    fake, driver = machine(NVML_L4), Driver()
    assert driver.look().complete
    fake.change(broken="Driver Not Loaded")
    for _ in range(2):
        assert driver.look() == Sight()
    fake.change(NVML_L4)
    assert driver.look().complete


def test_a_card_that_is_lost_while_it_is_asked_vanishes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = machine(NVML_L4)

    def lost(uuid: str) -> NvmlAnswers:
        raise fake.NVMLError("GPU is lost")

    monkeypatch.setattr(fake, "nvmlDeviceGetHandleByUUID", lost)
    assert Driver().look() == Sight()


@pytest.mark.parametrize("why", ["Driver Not Loaded", "NVML Shared Library Not Found"])
def test_a_machine_without_a_driver_has_no_cards(machine: Machine, why: str) -> None:
    machine(broken=why)
    assert Driver().look() == Sight()


def test_a_machine_without_the_package_has_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Driver().look() == Sight()


def test_of_a_divided_card_each_instance_has_its_memory_and_the_warmth_of_the_whole(
    machine: Machine,
) -> None:
    machine(NVML_MIG)
    sight = Driver().look()
    first, second = sight.readings
    assert sight.complete
    assert (first.card.memory_bytes, second.card.memory_bytes) == (19968 * MIB, 9856 * MIB)
    assert first.temperature_celsius == second.temperature_celsius == 55
    assert first.power_watts == second.power_watts == 71.5
    assert first.utilization_ratio is None  # which NVML does not tell of a divided card
    assert (first.number, second.number) == (0, 1)


def test_an_old_driver_is_asked_in_the_old_way(machine: Machine) -> None:
    machine(NVML_L4, old=True)
    (reading,) = Driver().look().readings
    assert reading.temperature_celsius == 55


def test_what_a_card_does_not_tell_is_left_out_and_the_card_is_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = machine(NVML_L4)

    def unknown(*_: object) -> None:
        raise fake.NVMLError("Not Supported")

    for question in ("nvmlDeviceGetPowerUsage", "nvmlDeviceRegisterEvents"):
        monkeypatch.setattr(fake, question, unknown)
    sight = Driver().look()
    assert sight.complete
    assert sight.readings[0].power_watts is sight.readings[0].last_xid is None


def test_only_the_cards_that_the_engines_may_use_count(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    machine(LOST, NVML_L4)
    sight = Driver().look()
    assert sight.complete
    assert [(it.number, it.card.uuid) for it in sight.readings] == [(0, "GPU-14")]
