"""A fake of the `pynvml` module."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace


@dataclass(frozen=True)
class NvmlAnswers:
    """What NVML reports about one card, after published `nvidia-smi` output and data sheets.

    parts    MIG instances
    divided  whether MIG is enabled; None for a card without MIG
    lost     the card has fallen off the bus
    """

    name: str
    uuid: str
    total_mib: int
    reserved_mib: int
    used_mib: int
    capability: tuple[int, int]
    memory_mhz: int
    bus_bits: int
    parts: tuple[NvmlAnswers, ...] = ()
    divided: bool | None = None
    lost: bool = False
    sm_mhz: int = 2040
    celsius: int = 55
    milliwatts: int = 71_500
    busy_percent: int = 37


NVML_L4 = NvmlAnswers("NVIDIA L4", "GPU-14", 23034, 455, 2, (8, 9), 6251, 192)
NVML_A10 = NvmlAnswers("NVIDIA A10", "GPU-a10", 23028, 316, 2, (8, 6), 6251, 384)
NVML_H100 = NvmlAnswers(
    "NVIDIA H100 80GB HBM3", "GPU-h100", 81559, 480, 3, (9, 0), 2619, 5120, divided=False
)
NVML_MIG = NvmlAnswers(
    "NVIDIA H100 80GB HBM3", "GPU-mig", 81559, 480, 100, (9, 0), 2619, 5120, divided=True,
    parts=(
        NvmlAnswers("NVIDIA H100 80GB HBM3 MIG 2g.20gb", "MIG-1", 19968, 0, 25, (9, 0), 0, 0),
        NvmlAnswers("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "MIG-2", 9856, 0, 12, (9, 0), 0, 0),
    ),
)  # fmt: skip


class FakeNvml:
    """The module pynvml (nvidia-ml-py 13), with the given answers."""

    nvmlMemory_v2 = 0x02000028  # noqa: N815, pynvml's name
    nvmlEventTypeXidCriticalError = 8  # noqa: N815, pynvml's name

    class NVMLError(Exception):
        """Stands for pynvml.NVMLError."""

    def __init__(self, *cards: NvmlAnswers, broken: str = "", old: bool = False) -> None:
        self._cards = cards
        self._broken = broken
        self._old = old
        self.open = 0
        self.xids: dict[str, list[int]] = {}  # by UUID: errors that the driver reports next
        self.event_sets: list[list[str]] = []  # the UUIDs registered in each

    def change(self, *cards: NvmlAnswers, broken: str = "") -> None:
        """Replace the cards, or break the driver."""
        self._cards, self._broken = cards, broken

    def nvmlInit(self) -> None:  # noqa: N802
        if self._broken:
            raise self.NVMLError(self._broken)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.95.05"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        assert self.open, "NVML was called before nvmlInit"
        if self._broken:
            raise self.NVMLError(self._broken)
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> NvmlAnswers:  # noqa: N802
        if self._cards[index].lost:
            raise self.NVMLError("GPU is lost")
        return self._cards[index]

    def nvmlDeviceGetName(self, card: NvmlAnswers) -> str:  # noqa: N802
        return card.name

    def nvmlDeviceGetUUID(self, card: NvmlAnswers) -> str:  # noqa: N802
        return card.uuid

    def nvmlDeviceGetCudaComputeCapability(self, card: NvmlAnswers) -> tuple[int, int]:  # noqa: N802
        if card.name.find("MIG") >= 0:
            raise self.NVMLError("Not Supported")
        return card.capability

    def nvmlDeviceGetMemoryInfo(  # noqa: N802
        self, card: NvmlAnswers, version: int | None = None
    ) -> SimpleNamespace:
        mib = 1 << 20
        free = card.total_mib - card.reserved_mib - card.used_mib
        if not version:  # version 1 counts reserved memory as used
            used = card.used_mib + card.reserved_mib
            return SimpleNamespace(total=card.total_mib * mib, free=free * mib, used=used * mib)
        if self._old or version != self.nvmlMemory_v2:
            raise self.NVMLError("Function Not Found")
        return SimpleNamespace(
            total=card.total_mib * mib,
            reserved=card.reserved_mib * mib,
            free=free * mib,
            used=card.used_mib * mib,
        )

    def nvmlDeviceGetMaxClockInfo(self, card: NvmlAnswers, kind: int) -> int:  # noqa: N802
        assert kind == 2, "NVML_CLOCK_MEM"
        return card.memory_mhz

    def nvmlDeviceGetMemoryBusWidth(self, card: NvmlAnswers) -> int:  # noqa: N802
        if self._old:
            raise self.NVMLError("Function Not Found")
        return card.bus_bits

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> NvmlAnswers:  # noqa: N802
        for card in self._cards:
            for device in (card, *card.parts):
                if device.uuid == uuid and not card.lost:
                    return device
        raise self.NVMLError("Not Found")

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: NvmlAnswers) -> NvmlAnswers:  # noqa: N802
        for card in self._cards:
            if part in card.parts:
                return card
        raise self.NVMLError("Invalid Argument")

    def nvmlDeviceGetClockInfo(self, card: NvmlAnswers, kind: int) -> int:  # noqa: N802
        assert kind == 1, "NVML_CLOCK_SM"
        return self._whole_card(card).sm_mhz

    def nvmlDeviceGetTemperatureV(self, card: NvmlAnswers, sensor: int) -> int:  # noqa: N802
        if self._old:
            raise self.NVMLError("Function Not Found")
        return self.nvmlDeviceGetTemperature(card, sensor)

    def nvmlDeviceGetTemperature(self, card: NvmlAnswers, sensor: int) -> int:  # noqa: N802
        assert sensor == 0, "NVML_TEMPERATURE_GPU"
        return self._whole_card(card).celsius

    def nvmlDeviceGetPowerUsage(self, card: NvmlAnswers) -> int:  # noqa: N802
        return self._whole_card(card).milliwatts

    def nvmlDeviceGetUtilizationRates(self, card: NvmlAnswers) -> SimpleNamespace:  # noqa: N802
        if card.divided:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=self._whole_card(card).busy_percent, memory=0)

    def nvmlEventSetCreate(self) -> list[str]:  # noqa: N802
        self.event_sets.append([])
        return self.event_sets[-1]

    def nvmlDeviceRegisterEvents(self, card: NvmlAnswers, kinds: int, events: list[str]) -> None:  # noqa: N802
        assert kinds == self.nvmlEventTypeXidCriticalError
        events.append(self._whole_card(card).uuid)

    def nvmlEventSetWait_v2(self, events: list[str], timeout_ms: int) -> SimpleNamespace:  # noqa: N802
        assert timeout_ms == 0, "the wait must not block"
        for uuid in events:
            if self.xids.get(uuid):
                return SimpleNamespace(eventType=8, eventData=self.xids[uuid].pop(0))
        raise self.NVMLError("Timeout")

    def nvmlEventSetFree(self, events: list[str]) -> None:  # noqa: N802
        self.event_sets.remove(events)

    def _whole_card(self, card: NvmlAnswers) -> NvmlAnswers:
        """Return the card; NVML does not report this for a MIG instance."""
        if card not in self._cards:
            raise self.NVMLError("Not Supported")
        return card

    def nvmlDeviceGetMigMode(self, card: NvmlAnswers) -> list[int]:  # noqa: N802
        if card.divided is None:
            raise self.NVMLError("Not Supported")
        return [int(card.divided), int(card.divided)]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: NvmlAnswers) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: N802
        self, card: NvmlAnswers, index: int
    ) -> NvmlAnswers:
        # The indexes of a real card have gaps.
        for number, part in zip((0, 2), card.parts, strict=False):
            if number == index:
                return part
        raise self.NVMLError("Not Found")
