"""Current readings of each card from the driver (NVML): clock, temperature, power, errors.

The driver may hang. `NvmlSession` reads and may block; `GpuReader` does so with a time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance import journal
from appliance.gpu import nvml
from appliance.gpu.cards import GpuCard

MAX_EVENTS_PER_READ = 100  # in case a card reports errors endlessly
_SM_CLOCK = 1  # NVML_CLOCK_SM, in MHz
_CORE_SENSOR = 0  # NVML_TEMPERATURE_GPU
log = journal.get()


@dataclass(frozen=True, slots=True)
class CardReading:
    """The state of a card; None for a value that it does not report.

    number    number within this appliance, from 0, in the order in which the cards first appeared
    last_xid  NVIDIA's code of the last error since this process started; 0 if none

    A MIG instance has its own memory; its other values are those of the whole card.
    """

    number: int
    card: GpuCard
    sm_clock_hertz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    utilization_ratio: float | None
    last_xid: int | None


@dataclass(frozen=True, slots=True)
class GpuReadings:
    """The cards that answered; `complete` if every card seen so far is still present."""

    readings: tuple[CardReading, ...] = ()
    complete: bool = False


class NvmlSession:
    """Reads the cards through NVML, which stays initialised so that no error event is missed."""

    def __init__(self) -> None:
        self._open: contextlib.ExitStack | None = None
        self._nvml: Any = None
        self._numbers: dict[str, int] = {}  # by UUID, of every card seen so far
        self._event_sets: dict[str, Any] = {}  # by UUID
        self._xids: dict[str, int] = {}  # last error, by UUID

    def read(self) -> GpuReadings:
        """Read all cards; initialises NVML if needed, shuts it down if a card is missing."""
        try:
            readings = self._read()
        except nvml.NoDriver:
            readings = GpuReadings()
        if not readings.complete:
            self.close()
        return readings

    def close(self) -> None:
        """Shut down NVML."""
        opened, self._open = self._open, None
        self._event_sets.clear()
        if opened is not None:
            with contextlib.suppress(self._nvml.NVMLError):  # the driver is already gone
                opened.close()

    def _read(self) -> GpuReadings:
        if self._open is None:
            with contextlib.ExitStack() as stack:
                self._nvml = stack.enter_context(nvml.open_driver())
                self._open = stack.pop_all()
        try:
            listing = nvml.list_cards_with(self._nvml)
        except self._nvml.NVMLError:
            return GpuReadings()
        for card in listing.cards:
            self._numbers.setdefault(card.uuid, len(self._numbers))
        readings = tuple(filter(None, map(self._read_card, listing.cards)))
        all_present = len(readings) == len(self._numbers)
        return GpuReadings(readings, bool(readings) and not listing.problem and all_present)

    def _read_card(self, card: GpuCard) -> CardReading | None:
        """Read the state of a card; None if the card has been lost meanwhile."""
        pynvml, query = self._nvml, self._query
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(card.uuid)
        except pynvml.NVMLError:
            return None
        parent = query(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle) or handle
        clock = query(pynvml.nvmlDeviceGetClockInfo, parent, _SM_CLOCK)
        temperature = query(pynvml.nvmlDeviceGetTemperatureV, parent, _CORE_SENSOR)
        if temperature is None:  # an older driver
            temperature = query(pynvml.nvmlDeviceGetTemperature, parent, _CORE_SENSOR)
        power = query(pynvml.nvmlDeviceGetPowerUsage, parent)
        utilization = query(pynvml.nvmlDeviceGetUtilizationRates, parent)
        return CardReading(
            self._numbers[card.uuid],
            card,
            None if clock is None else clock * 1e6,
            temperature,
            None if power is None else power / 1000,
            None if utilization is None else utilization.gpu / 100,
            self._last_xid(card.uuid, parent),
        )

    def _query(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result, or None if the card or its driver does not support the query."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None

    def _last_xid(self, uuid: str, parent: Any) -> int | None:
        if uuid not in self._event_sets:
            self._event_sets[uuid] = self._query(self._subscribe, parent)
        if self._event_sets[uuid] is None:
            return None
        for _ in range(MAX_EVENTS_PER_READ):
            event = self._query(self._nvml.nvmlEventSetWait_v2, self._event_sets[uuid], 0)
            if event is None:
                break
            self._xids[uuid] = int(event.eventData)
            log.warning("card reported an error", device=uuid, error=f"xid {event.eventData}")
        return self._xids.get(uuid, 0)

    def _subscribe(self, parent: Any) -> Any:
        assert self._open is not None
        pynvml = self._nvml
        events = pynvml.nvmlEventSetCreate()
        self._open.callback(self._query, pynvml.nvmlEventSetFree, events)
        pynvml.nvmlDeviceRegisterEvents(parent, pynvml.nvmlEventTypeXidCriticalError, events)
        return events


class GpuReader:
    """Reads the cards in a thread, with a time limit. Does not start a read while one hangs."""

    def __init__(self, read: Callable[[], GpuReadings] | None = None) -> None:
        self._read = read or NvmlSession().read
        self._pending: asyncio.Future[GpuReadings] | None = None

    async def read(self, timeout_seconds: float) -> GpuReadings | None:
        """Return the readings, or None if the driver does not reply in time.

        Concurrent calls share one read.
        """
        if self._pending is None or self._pending.done():
            loop = asyncio.get_running_loop()
            self._pending = loop.create_future()
            arguments = (loop, self._pending)
            threading.Thread(target=self._run, args=arguments, daemon=True).start()
        done, _ = await asyncio.wait({self._pending}, timeout=timeout_seconds)
        return self._pending.result() if done else None

    def _run(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[GpuReadings]) -> None:
        try:
            readings = self._read()
        except Exception as error:  # raised again where the future is awaited
            loop.call_soon_threadsafe(future.set_exception, error)
        else:
            loop.call_soon_threadsafe(future.set_result, readings)
