"""Lists the cards through NVIDIA's driver (NVML, package nvidia-ml-py).

A machine without a card, driver or package yields an empty list and the reason; only a bug
raises. Cards are listed as CUDA shows them to this process: in the order of CUDA_VISIBLE_DEVICES,
and MIG instances in place of a card in MIG mode. NVML orders cards by PCI address; CUDA does so
only with CUDA_DEVICE_ORDER=PCI_BUS_ID, so name cards by UUID on a machine with different models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from appliance.gpu.cards import GpuCard

_MEMORY_CLOCK = 2  # NVML_CLOCK_MEM
_MEMORY_V2 = 0x02000028  # nvmlMemory_v2, the version that reports `reserved`
_TRANSFERS_PER_CLOCK = 2  # double data rate; NVML reports the clock in MHz


@dataclass(frozen=True, slots=True)
class CardList:
    """The usable cards. `problem` says why there are none, or why some are missing."""

    cards: tuple[GpuCard, ...]
    problem: str = ""


class NoDriver(Exception):
    """NVML cannot be used; the text says why."""


def list_cards(environ: Mapping[str, str] | None = None) -> CardList:
    """List the cards that a process with this environment may use; by default, this process."""
    environ = os.environ if environ is None else environ
    if environ.get("NVIDIA_VISIBLE_DEVICES") in ("none", "void"):
        return CardList((), "NVIDIA_VISIBLE_DEVICES gives this container no card")
    try:
        with open_driver() as nvml:
            return list_cards_with(nvml, environ)
    except NoDriver as error:
        return CardList((), str(error))


def list_cards_with(nvml: Any, environ: Mapping[str, str] | None = None) -> CardList:
    """Like `list_cards`, through an open driver. Raises its NVMLError if it does not answer."""
    environ = os.environ if environ is None else environ
    devices = [_read_device(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    visible = _visible(devices, environ.get("CUDA_VISIBLE_DEVICES"))
    cards = tuple(card for device in visible for card in device.cards)
    problems = [device.problem for device in visible if device.problem]
    if not devices:
        problems = ["the driver lists no card"]
    elif not visible:
        problems = ["CUDA_VISIBLE_DEVICES names no card of this machine"]
    return CardList(cards, "; ".join(problems))


@contextmanager
def open_driver() -> Iterator[Any]:
    """Initialise NVML, and shut it down at the end. Yields the module pynvml. Raises NoDriver."""
    try:
        import pynvml
    except ImportError as error:
        raise NoDriver("the package nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(f"the driver cannot be opened: {error}") from error
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise NoDriver(f"the driver does not answer: {error}") from error
    finally:
        pynvml.nvmlShutdown()


def _read_device(nvml: Any, index: int) -> CardList:
    """Read a card or its MIG instances; `problem` says why it cannot be used."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        capability = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        if not _is_in_mig_mode(nvml, handle):
            bandwidth = _bytes_per_second(nvml, handle)
            return CardList((_read_card(nvml, handle, capability, bandwidth),))
        instances = list(_mig_instances(nvml, handle))
        if not instances:
            return CardList((), f"card {index} is in MIG mode and has no instance")
        # NVML does not report an instance's share of the bandwidth.
        return CardList(
            tuple(_read_card(nvml, instance, capability, 0.0) for instance in instances)
        )
    except nvml.NVMLError as error:
        return CardList((), f"card {index} cannot be used: {error}")


def _read_card(nvml: Any, handle: Any, capability: tuple[int, int], bandwidth: float) -> GpuCard:
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=_MEMORY_V2)
        usable = memory.total - memory.reserved
    except nvml.NVMLError:  # a driver before 510, or a virtual card
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        usable = memory.total
    return GpuCard(
        name=nvml.nvmlDeviceGetName(handle),
        memory_bytes=usable,
        free_bytes=min(memory.free, usable),
        capability=(capability[0], capability[1]),
        driver=nvml.nvmlSystemGetDriverVersion(),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        bytes_per_second=bandwidth,
    )


def _is_in_mig_mode(nvml: Any, handle: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # most cards do not support MIG
        return False
    return bool(current)


def _mig_instances(nvml: Any, handle: Any) -> Iterator[Any]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError:  # an unused index
            continue


def _bytes_per_second(nvml: Any, handle: Any) -> float:
    """Memory clock x 2 x bus width: 6251 MHz and 192 bit give an L4's 300 GB/s."""
    try:
        megahertz = nvml.nvmlDeviceGetMaxClockInfo(handle, _MEMORY_CLOCK)
        bits = nvml.nvmlDeviceGetMemoryBusWidth(handle)
    except nvml.NVMLError:
        return 0.0
    return float(megahertz * 1_000_000 * _TRANSFERS_PER_CLOCK * bits // 8)


def _visible(devices: list[CardList], cuda_visible_devices: str | None) -> list[CardList]:
    """Return the devices that CUDA_VISIBLE_DEVICES names, in its order.

    As in CUDA, the first invalid entry ends the list.
    """
    if cuda_visible_devices is None:
        return devices
    visible: list[CardList] = []
    for entry in (part.strip() for part in cuda_visible_devices.split(",")):
        if entry.isdecimal():
            if int(entry) >= len(devices):
                break
            visible.append(devices[int(entry)])
            continue
        matches = [
            card for device in devices for card in device.cards if card.uuid.startswith(entry)
        ]
        if not entry or len(matches) != 1:
            break
        visible.append(CardList((matches[0],)))
    return visible
