"""What graphics cards are here, asked of NVIDIA's driver (NVML, package nvidia-ml-py).

On a machine without a card, a driver or the package there are none, and a reason why; only a defect
raises. Cards come as CUDA in this process sees them: in the order of CUDA_VISIBLE_DEVICES, and of a
card in MIG mode its instances instead of the card. NVML counts cards by their PCI address; CUDA
does so only with CUDA_DEVICE_ORDER=PCI_BUS_ID, so where unlike cards stand in one machine, name
them by UUID.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from appliance.gpu.cards import Card

_MEMORY_CLOCK = 2  # NVML_CLOCK_MEM
_MEMORY_V2 = 0x02000028  # nvmlMemory_v2, the version that tells `reserved`
_SIDES = 2  # data on both edges of the clock that NVML tells, in MHz


@dataclass(frozen=True, slots=True)
class Found:
    """The cards, and why there are none or not all."""

    cards: tuple[Card, ...]
    why: str = ""


class NoDriver(Exception):
    """NVML cannot be used; the text says why. Never leaves this module's callers unexpected."""


def cards() -> list[Card]:
    """The cards that this process may use; empty where there are none."""
    return list(look().cards)


def look(environ: Mapping[str, str] | None = None) -> Found:
    """The same with the reason, for an environment's CUDA_VISIBLE_DEVICES; None: this process's."""
    environ = os.environ if environ is None else environ
    if environ.get("NVIDIA_VISIBLE_DEVICES") in ("none", "void"):
        return Found((), "NVIDIA_VISIBLE_DEVICES gives this container no card")
    try:
        with driver() as nvml:
            return look_with(nvml, environ)
    except NoDriver as problem:
        return Found((), str(problem))


def look_with(nvml: Any, environ: Mapping[str, str] | None = None) -> Found:
    """The same with a driver that is open. Raises its NVMLError when it does not answer at all."""
    environ = os.environ if environ is None else environ
    listed = [_read(nvml, number) for number in range(nvml.nvmlDeviceGetCount())]
    visible = _visible(listed, environ.get("CUDA_VISIBLE_DEVICES"))
    usable = tuple(card for found in visible for card in found.cards)
    reasons = [found.why for found in visible if found.why]
    if listed and not visible:
        reasons = ["CUDA_VISIBLE_DEVICES names no card that is here"]
    elif not listed:
        reasons = ["the driver knows no card"]
    return Found(usable, "; ".join(reasons))


@contextmanager
def driver() -> Iterator[Any]:
    """NVML, initialised: the module pynvml. Raises NoDriver."""
    try:
        import pynvml
    except ImportError as problem:
        raise NoDriver("the package nvidia-ml-py is not installed") from problem
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        raise NoDriver(f"the driver cannot be asked: {problem}") from problem
    try:
        yield pynvml
    except pynvml.NVMLError as problem:
        raise NoDriver(f"the driver does not answer: {problem}") from problem
    finally:
        pynvml.nvmlShutdown()


def _read(nvml: Any, number: int) -> Found:
    """A card, its MIG instances, or why it cannot be used."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(number)
        capability = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        if not _is_divided(nvml, handle):
            return Found((_card(nvml, handle, capability, _bytes_per_second(nvml, handle)),))
        parts = list(_instances(nvml, handle))
        if not parts:
            return Found((), f"card {number} is in MIG mode and has no instance")
        return Found(tuple(_card(nvml, part, capability, 0.0) for part in parts))
    except nvml.NVMLError as problem:
        return Found((), f"card {number} cannot be used: {problem}")


def _card(nvml: Any, handle: Any, capability: tuple[int, int], rate: float) -> Card:
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=_MEMORY_V2)
        usable = memory.total - memory.reserved
    except nvml.NVMLError:  # a driver before 510, or a virtual card
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        usable = memory.total
    return Card(
        name=nvml.nvmlDeviceGetName(handle),
        memory_bytes=usable,
        free_bytes=min(memory.free, usable),
        capability=(capability[0], capability[1]),
        driver=nvml.nvmlSystemGetDriverVersion(),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        bytes_per_second=rate,
    )


def _is_divided(nvml: Any, handle: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # most cards have no such mode
        return False
    return bool(current)


def _instances(nvml: Any, handle: Any) -> Iterator[Any]:
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # a number that no instance has
            continue


def _bytes_per_second(nvml: Any, handle: Any) -> float:
    """Memory clock x 2 x width of the bus: 6251 MHz and 192 bit are an L4's 300 GB/s."""
    try:
        megahertz = nvml.nvmlDeviceGetMaxClockInfo(handle, _MEMORY_CLOCK)
        bits = nvml.nvmlDeviceGetMemoryBusWidth(handle)
    except nvml.NVMLError:
        return 0.0
    return float(megahertz * 1_000_000 * _SIDES * bits // 8)


def _visible(listed: list[Found], wanted: str | None) -> list[Found]:
    """What CUDA_VISIBLE_DEVICES names, in its order; as in CUDA, the first wrong entry ends it."""
    if wanted is None:
        return listed
    chosen: list[Found] = []
    for entry in (part.strip() for part in wanted.split(",")):
        if entry.isdecimal():
            if int(entry) >= len(listed):
                break
            chosen.append(listed[int(entry)])
            continue
        named = [card for found in listed for card in found.cards if card.uuid.startswith(entry)]
        if not entry or len(named) != 1:
            break
        chosen.append(Found((named[0],)))
    return chosen
