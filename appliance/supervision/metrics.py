"""The metrics of the processes themselves: up, restarts, age, memory, CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
