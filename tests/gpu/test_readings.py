"""Readings of each card, a card that is lost, and a driver that hangs."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from appliance import journal
from appliance.gpu.readings import MAX_EVENTS_PER_READ, GpuReader, GpuReadings, NvmlSession
from appliance.settings import Settings
from tests.fakes import NVML_A10, NVML_L4, NVML_MIG, FakeNvml, NvmlAnswers

MIB = 1 << 20
LOST = dataclasses.replace(NVML_A10, lost=True)
Machine = Callable[..., FakeNvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """`machine(*cards)`: give this machine these cards."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)

    def install(*cards: NvmlAnswers, **options: object) -> FakeNvml:
        fake = FakeNvml(*cards, **options)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return install


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """The log of this process; an unlisted field is an error."""
    stream = io.BytesIO()
    journal.configure(Settings().journal, "exporter", stream=stream, strict=True)
    yield stream


def test_values_are_in_base_units(machine: Machine) -> None:
    machine(NVML_L4)
    gpus = NvmlSession().read()
    (reading,) = gpus.readings
    assert gpus.complete
    assert (reading.number, reading.card.name, reading.card.uuid) == (0, "NVIDIA L4", "GPU-14")
    assert reading.sm_clock_hertz == 2_040_000_000
    assert reading.temperature_celsius == 55
    assert reading.power_watts == 71.5
    assert reading.utilization_ratio == 0.37
    assert reading.card.memory_bytes - reading.card.free_bytes == 2 * MIB
    assert reading.last_xid == 0


def test_driver_stays_open_between_reads_until_closed(machine: Machine) -> None:
    fake, session = machine(NVML_L4), NvmlSession()
    for _ in range(3):
        assert session.read().complete
    assert (fake.open, len(fake.event_sets)) == (1, 1)
    session.close()
    assert (fake.open, len(fake.event_sets)) == (0, 0)


def test_errors_between_two_reads_are_logged_and_the_last_one_is_kept(
    machine: Machine, log: io.BytesIO
) -> None:
    fake, session = machine(NVML_L4, NVML_A10), NvmlSession()
    session.read()
    fake.xids["GPU-a10"] = [13, 31]
    for _ in range(2):
        assert [reading.last_xid for reading in session.read().readings] == [0, 31]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["device"], line["error"]) for line in lines] == [
        ("GPU-a10", "xid 13"),
        ("GPU-a10", "xid 31"),
    ]


def test_endless_errors_do_not_block_a_read(machine: Machine, log: io.BytesIO) -> None:
    fake, session = machine(NVML_L4), NvmlSession()
    fake.xids["GPU-14"] = [1] * (MAX_EVENTS_PER_READ + 5)
    session.read()
    assert len(fake.xids["GPU-14"]) == 5


def test_lost_card_disappears_and_the_other_keeps_its_number(
    machine: Machine, log: io.BytesIO
) -> None:
    fake, session = machine(NVML_A10, NVML_L4), NvmlSession()
    assert [reading.number for reading in session.read().readings] == [0, 1]
    fake.xids["GPU-14"] = [79]
    session.read()
    fake.change(LOST, NVML_L4)
    gpus = session.read()
    assert not gpus.complete
    assert [(r.number, r.card.uuid, r.last_xid) for r in gpus.readings] == [(1, "GPU-14", 79)]
    fake.change(NVML_L4)  # missing even if the driver no longer lists it
    assert not session.read().complete
    fake.change(NVML_A10, NVML_L4)
    assert session.read().complete
    assert session.read().readings[1].last_xid == 79
    session.close()
    assert fake.open == 0


def test_driver_that_fails_between_reads_is_opened_again(machine: Machine) -> None:
    fake, session = machine(NVML_L4), NvmlSession()
    assert session.read().complete
    fake.change(broken="Driver Not Loaded")
    for _ in range(2):
        assert session.read() == GpuReadings()
    fake.change(NVML_L4)
    assert session.read().complete


def test_card_that_is_lost_during_a_read_disappears(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = machine(NVML_L4)

    def lost(uuid: str) -> NvmlAnswers:
        raise fake.NVMLError("GPU is lost")

    monkeypatch.setattr(fake, "nvmlDeviceGetHandleByUUID", lost)
    assert NvmlSession().read() == GpuReadings()


@pytest.mark.parametrize("problem", ["Driver Not Loaded", "NVML Shared Library Not Found"])
def test_machine_without_a_driver_has_no_readings(machine: Machine, problem: str) -> None:
    machine(broken=problem)
    assert NvmlSession().read() == GpuReadings()


def test_machine_without_the_package_has_no_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert NvmlSession().read() == GpuReadings()


def test_mig_instance_has_its_own_memory_and_the_temperature_of_its_card(
    machine: Machine,
) -> None:
    machine(NVML_MIG)
    gpus = NvmlSession().read()
    first, second = gpus.readings
    assert gpus.complete
    assert (first.card.memory_bytes, second.card.memory_bytes) == (19968 * MIB, 9856 * MIB)
    assert first.temperature_celsius == second.temperature_celsius == 55
    assert first.power_watts == second.power_watts == 71.5
    assert first.utilization_ratio is None  # NVML does not report it in MIG mode
    assert (first.number, second.number) == (0, 1)


def test_old_driver_is_queried_through_the_old_function(machine: Machine) -> None:
    machine(NVML_L4, old=True)
    (reading,) = NvmlSession().read().readings
    assert reading.temperature_celsius == 55


def test_card_that_does_not_support_a_query_is_still_complete(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = machine(NVML_L4)

    def unsupported(*_: object) -> None:
        raise fake.NVMLError("Not Supported")

    for function in ("nvmlDeviceGetPowerUsage", "nvmlDeviceRegisterEvents"):
        monkeypatch.setattr(fake, function, unsupported)
    gpus = NvmlSession().read()
    assert gpus.complete
    assert gpus.readings[0].power_watts is gpus.readings[0].last_xid is None


def test_cards_hidden_from_the_engines_do_not_count(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    machine(LOST, NVML_L4)
    gpus = NvmlSession().read()
    assert gpus.complete
    assert [(r.number, r.card.uuid) for r in gpus.readings] == [(0, "GPU-14")]


# With a time limit.

LONG_SECONDS = 30.0  # for replies that must come


async def test_hanging_driver_is_not_waited_for_and_not_read_again_until_it_replies() -> None:
    release, reads = threading.Event(), []

    def read() -> GpuReadings:
        reads.append(1)
        release.wait(LONG_SECONDS)
        return GpuReadings((), True)

    reader = GpuReader(read)
    for _ in range(3):
        assert await reader.read(0.05) is None
    assert len(reads) == 1
    release.set()
    gpus = await reader.read(LONG_SECONDS)
    assert gpus is not None and gpus.complete
    assert await reader.read(LONG_SECONDS) is not None
    assert len(reads) == 2


async def test_concurrent_requests_share_one_read() -> None:
    release, reads = threading.Event(), []

    def read() -> GpuReadings:
        reads.append(1)
        release.wait(LONG_SECONDS)
        return GpuReadings()

    reader = GpuReader(read)
    requests = [asyncio.create_task(reader.read(LONG_SECONDS)) for _ in range(4)]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*requests) == [GpuReadings()] * 4
    assert len(reads) == 1


async def test_defect_in_the_reading_code_is_raised() -> None:
    def read() -> GpuReadings:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await GpuReader(read).read(LONG_SECONDS)
