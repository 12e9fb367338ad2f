"""What the driver of the graphics cards (NVML) says of each, now.

It may hang, for a driver can; `cards.Cards` asks it with a time limit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance import journal
from appliance.gpu import nvml
from appliance.gpu.cards import Card

MOST_EVENTS = 100  # taken at one look, should a card report without end
_SM_CLOCK = 1  # NVML_CLOCK_SM, told in MHz
_CORE = 0  # NVML_TEMPERATURE_GPU
log = journal.get()


@dataclass(frozen=True, slots=True)
class Reading:
    """A card now; None for what it does not tell.

    number    in this appliance, from 0, in the order in which CUDA first saw them
    last_xid  NVIDIA's number of the last error since this process began to look; 0 for none

    Of a MIG instance only the memory is its own; the rest is of the whole card.
    """

    number: int
    card: Card
    sm_clock_hertz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    utilization_ratio: float | None
    last_xid: int | None


@dataclass(frozen=True, slots=True)
class Sight:
    """The cards that answer, and whether those are all that are or ever were here."""

    readings: tuple[Reading, ...] = ()
    complete: bool = False


class Driver:
    """NVML, kept open as long as all is well, so that no error between two looks is missed."""

    def __init__(self) -> None:
        self._open: contextlib.ExitStack | None = None
        self._nvml: Any = None
        self._numbers: dict[str, int] = {}  # by UUID, of every card that was ever seen
        self._events: dict[str, Any] = {}  # event sets by the card's UUID
        self._xids: dict[str, int] = {}

    def look(self) -> Sight:
        """Asks the cards; opens the driver first where it is not, and lets go of it in trouble."""
        try:
            sight = self._look()
        except nvml.NoDriver:
            sight = Sight()
        if not sight.complete:
            self.close()
        return sight

    def close(self) -> None:
        """Lets go of the driver."""
        opened, self._open = self._open, None
        self._events.clear()
        if opened is not None:
            with contextlib.suppress(self._nvml.NVMLError):  # it has gone already
                opened.close()

    def _look(self) -> Sight:
        if self._open is None:
            with contextlib.ExitStack() as opening:
                self._nvml = opening.enter_context(nvml.driver())
                self._open = opening.pop_all()
        try:
            found = nvml.look_with(self._nvml)
        except self._nvml.NVMLError:
            return Sight()
        for card in found.cards:
            self._numbers.setdefault(card.uuid, len(self._numbers))
        readings = tuple(filter(None, map(self._read, found.cards)))
        complete = bool(readings) and not found.why and len(readings) == len(self._numbers)
        return Sight(readings, complete)

    def _read(self, card: Card) -> Reading | None:
        """The card, or None when it was lost while it was asked."""
        try:
            handle = self._nvml.nvmlDeviceGetHandleByUUID(card.uuid)
        except self._nvml.NVMLError:
            return None
        of, ask = self._nvml, self._asked
        whole = ask(of.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle) or handle
        clock = ask(of.nvmlDeviceGetClockInfo, whole, _SM_CLOCK)
        warm = ask(of.nvmlDeviceGetTemperatureV, whole, _CORE)
        if warm is None:  # an older driver
            warm = ask(of.nvmlDeviceGetTemperature, whole, _CORE)
        power = ask(of.nvmlDeviceGetPowerUsage, whole)
        busy = ask(of.nvmlDeviceGetUtilizationRates, whole)
        return Reading(
            self._numbers[card.uuid],
            card,
            None if clock is None else clock * 1e6,
            warm,
            None if power is None else power / 1000,
            None if busy is None else busy.gpu / 100,
            self._last_xid(card.uuid, whole),
        )

    def _asked(self, question: Callable[..., Any], *about: Any) -> Any:
        """The answer, or None where the card or its driver knows none."""
        try:
            return question(*about)
        except self._nvml.NVMLError:
            return None

    def _last_xid(self, uuid: str, whole: Any) -> int | None:
        if uuid not in self._events:
            self._events[uuid] = self._asked(self._subscribed, whole)
        if self._events[uuid] is None:
            return None
        for _ in range(MOST_EVENTS):
            event = self._asked(self._nvml.nvmlEventSetWait_v2, self._events[uuid], 0)
            if event is None:
                break
            self._xids[uuid] = int(event.eventData)
            log.warning("card reported an error", device=uuid, error=f"xid {event.eventData}")
        return self._xids.get(uuid, 0)

    def _subscribed(self, whole: Any) -> Any:
        assert self._open is not None
        events = self._nvml.nvmlEventSetCreate()
        self._open.callback(self._asked, self._nvml.nvmlEventSetFree, events)
        self._nvml.nvmlDeviceRegisterEvents(whole, self._nvml.nvmlEventTypeXidCriticalError, events)
        return events
