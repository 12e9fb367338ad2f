"""The metrics of the processes themselves: up, restarts, age, memory, CPU."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.gpu.readings import Driver, Reading, Sight
from appliance.supervision.policy import POSSIBLE
from appliance.supervision.supervisor_client import PROGRAMS, Program


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a process is: Unix start time, resident memory, user and system CPU time so far."""

    up: bool = False
    started_seconds: float = 0.0
    resident_bytes: int = 0
    cpu_seconds: float = 0.0


def vitals(programs: Sequence[Program]) -> dict[str, Vitals]:
    """Looks at each program's process; one that has just gone counts as down."""
    found = {program.name: Vitals() for program in programs}
    for program in programs:
        if program.pid:
            try:
                process = psutil.Process(program.pid)
                with process.oneshot():
                    cpu = process.cpu_times()
                    found[program.name] = Vitals(
                        process.status() != psutil.STATUS_ZOMBIE,
                        process.create_time(),
                        process.memory_info().rss,
                        cpu.user + cpu.system,
                    )
            except psutil.NoSuchProcess:
                continue
    return found


class ProcessMetrics(Collector):
    """One scrape's view; every program is on the page, known or not."""

    def __init__(
        self, found: Mapping[str, Vitals], restarts: Mapping[str, int], ready: Mapping[str, bool]
    ) -> None:
        self._vitals = {**dict.fromkeys(PROGRAMS, Vitals()), **found}
        self._restarts = restarts
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "voice_process_up", "1 while supervisord has a live process for it.", labels=["process"]
        )
        ready = GaugeMetricFamily(
            "voice_process_ready",
            "1 when the process says that it can do its work.",
            labels=["process"],
        )
        restarts = CounterMetricFamily(
            "voice_process_restarts",
            "Starts after the first since the appliance was started.",
            labels=["process"],
        )
        started = GaugeMetricFamily(
            "voice_process_start_time_seconds",
            "Unix time of the process's start; 0 when there is none.",
            labels=["process"],
        )
        memory = GaugeMetricFamily(
            "voice_process_resident_memory_bytes", "Resident memory.", labels=["process"]
        )
        cpu = CounterMetricFamily(
            "voice_process_cpu_seconds", "User and system CPU time.", labels=["process"]
        )
        for name, of in self._vitals.items():
            up.add_metric([name], of.up)
            ready.add_metric([name], self._ready.get(name, False))
            restarts.add_metric([name], self._restarts.get(name, 0))
            started.add_metric([name], of.started_seconds)
            memory.add_metric([name], of.resident_bytes)
            cpu.add_metric([name], of.cpu_seconds)
        yield from (up, ready, restarts, started, memory, cpu)


class Cards:
    """Looks at the cards with a time limit. While a look hangs, no other one begins."""

    def __init__(self, look: Callable[[], Sight] | None = None) -> None:
        self._look = look or Driver().look
        self._looking: asyncio.Future[Sight] | None = None

    async def sight(self, timeout_seconds: float) -> Sight | None:
        """What the driver says, or None when it did not answer in time."""
        if self._looking is None or self._looking.done():
            loop = asyncio.get_running_loop()
            self._looking = loop.create_future()
            job = threading.Thread(target=self._answer, args=(loop, self._looking), daemon=True)
            job.start()
        done, _ = await asyncio.wait({self._looking}, timeout=timeout_seconds)
        return self._looking.result() if done else None

    def _answer(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Sight]) -> None:
        try:
            sight = self._look()
        except Exception as defect:  # ours; it is raised where the answer is awaited
            loop.call_soon_threadsafe(answer.set_exception, defect)
        else:
            loop.call_soon_threadsafe(answer.set_result, sight)


class CardMetrics(Collector):
    """One scrape's view."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "voice_gpu_up",
            "1 when there are graphics cards and each that was ever seen answers.",
            float(self._sight.complete),
        )
        info = GaugeMetricFamily(
            "voice_gpu_info",
            "Graphics cards by their number in this appliance; always 1.",
            labels=["gpu", "name", "uuid", "driver"],
        )
        for reading in self._sight.readings:
            card = reading.card
            info.add_metric([str(reading.number), card.name, card.uuid, card.driver], 1)
        yield info
        yield self._gauge(
            "sm_clock_hertz", "Clock of the processors.", lambda it: it.sm_clock_hertz
        )
        yield self._gauge(
            "temperature_celsius", "Temperature of the chip.", lambda it: it.temperature_celsius
        )
        yield self._gauge("power_watts", "Power drawn.", lambda it: it.power_watts)
        yield self._gauge(
            "utilization_ratio",
            "Part of the last sample's time in which the card worked.",
            lambda it: it.utilization_ratio,
        )
        yield self._gauge(
            "memory_used_bytes",
            "Memory in use, by whomever.",
            lambda it: it.card.memory_bytes - it.card.free_bytes,
        )
        yield self._gauge(
            "memory_total_bytes", "Memory that programs can use.", lambda it: it.card.memory_bytes
        )
        yield self._gauge(
            "last_xid",
            "NVIDIA's number of the last error since the exporter's start; 0 for none.",
            lambda it: it.last_xid,
        )

    def _gauge(
        self, name: str, meaning: str, value: Callable[[Reading], float | None]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"voice_gpu_{name}", meaning, labels=["gpu"])
        for reading in self._sight.readings:
            if (known := value(reading)) is not None:
                family.add_metric([str(reading.number)], known)
        return family


FRESH_SECONDS = 30.0  # several looks of the guard; boot ends it sooner when it is frozen


def beats(told: Mapping[str, Any], now: float) -> bool:
    """Whether the guard was at work just now; `now` is monotonic."""
    return "beat" in told and now - float(told["beat"]) < FRESH_SECONDS


class GuardMetrics(Collector):
    """What the guard did so far; each pair of action and cause is on the page from the start."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._counts = {(it["action"], it["cause"]): it["count"] for it in told.get("actions", [])}

    def collect(self) -> Iterator[Metric]:
        actions = CounterMetricFamily(
            "voice_guard_actions",
            "What the guard decided, and what for.",
            labels=["action", "cause"],
        )
        for action, causes in POSSIBLE.items():
            for cause in causes:
                actions.add_metric([action, cause], self._counts.get((action, cause), 0))
        yield actions
