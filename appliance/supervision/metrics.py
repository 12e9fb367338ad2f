"""The exporter's own metrics: processes, the seal, the guard's decisions, and the GPUs.

Each collector renders the state of one scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.gpu.readings import CardReading, GpuReadings
from appliance.processes import PROGRAMS
from appliance.supervision.policy import CAUSES_BY_ACTION, counts_from_json
from appliance.supervision.supervisor_client import Program

GUARD_FRESH_SECONDS = 30.0  # several rounds of checks; boot kills a frozen guard sooner


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """State, Unix start time, resident memory, and user plus system CPU time of a process."""

    up: bool = False
    started_seconds: float = 0.0
    resident_bytes: int = 0
    cpu_seconds: float = 0.0


def measure_processes(programs: Sequence[Program]) -> dict[str, ProcessStats]:
    """Measure the process of each program. A process that has just exited counts as down."""
    stats = {program.name: ProcessStats() for program in programs}
    for program in programs:
        if program.pid:
            try:
                process = psutil.Process(program.pid)
                with process.oneshot():
                    cpu = process.cpu_times()
                    stats[program.name] = ProcessStats(
                        process.status() != psutil.STATUS_ZOMBIE,
                        process.create_time(),
                        process.memory_info().rss,
                        cpu.user + cpu.system,
                    )
            except psutil.NoSuchProcess:
                continue
    return stats


class ProcessMetrics(Collector):
    """Metrics of every program in the table; a program without a measurement counts as down."""

    def __init__(
        self,
        stats: Mapping[str, ProcessStats],
        restarts: Mapping[str, int],
        ready: Mapping[str, bool],
    ) -> None:
        self._stats = {**dict.fromkeys(PROGRAMS, ProcessStats()), **stats}
        self._restarts = restarts
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "voice_process_up", "1 while supervisord has a live process for it.", labels=["process"]
        )
        ready = GaugeMetricFamily(
            "voice_process_ready",
            "1 when the process reports that it can do its work.",
            labels=["process"],
        )
        restarts = CounterMetricFamily(
            "voice_process_restarts",
            "Restarts since the appliance was started.",
            labels=["process"],
        )
        started = GaugeMetricFamily(
            "voice_process_start_time_seconds",
            "Unix time of the process's start; 0 if there is no process.",
            labels=["process"],
        )
        memory = GaugeMetricFamily(
            "voice_process_resident_memory_bytes", "Resident memory.", labels=["process"]
        )
        cpu = CounterMetricFamily(
            "voice_process_cpu_seconds", "User and system CPU time.", labels=["process"]
        )
        for name, stats in self._stats.items():
            up.add_metric([name], stats.up)
            ready.add_metric([name], self._ready.get(name, False))
            restarts.add_metric([name], self._restarts.get(name, 0))
            started.add_metric([name], stats.started_seconds)
            memory.add_metric([name], stats.resident_bytes)
            cpu.add_metric([name], stats.cpu_seconds)
        yield from (up, ready, restarts, started, memory, cpu)


class SealMetrics(Collector):
    """The result of the last seal check, as recorded in seal.json."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record

    def collect(self) -> Iterator[Metric]:
        record = self._record
        code = record.get("code") or {}
        help_ok = "1 when this start found all model files, and in the image all code, intact."
        yield self._gauge("ok", help_ok, bool(record))
        yield self._gauge("full", "1 when this start read every byte.", record.get("full"))
        yield self._gauge("bytes", "Size of the sealed model files.", record.get("bytes"))
        yield self._gauge(
            "verified_timestamp_seconds",
            "Unix time at which every byte was last read; 0 for never.",
            record.get("verified_seconds"),
        )
        yield self._gauge(
            "verify_seconds", "How long reading every byte took.", record.get("took_seconds")
        )
        yield self._gauge(
            "code_bytes",
            "Size of our code, its packages and the system's programs; 0 outside the image.",
            code.get("bytes"),
        )
        yield self._gauge(
            "code_verify_seconds",
            "How long reading every byte of them took at this start.",
            code.get("took_seconds"),
        )
        lists = GaugeMetricFamily(
            "voice_seal_info",
            "The lists that this start was compared with: of model files, and of code.",
            labels=["lock_sha256", "code_sha256"],
        )
        if record.get("lock_sha256"):
            lists.add_metric([record["lock_sha256"], code.get("sha256", "")], 1)
        yield lists

    def _gauge(self, name: str, documentation: str, value: Any) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"voice_seal_{name}", documentation, float(value or 0))


def guard_is_alive(status: Mapping[str, Any], now: float) -> bool:
    """Whether the guard published guard.json recently; `now` is monotonic."""
    return "beat" in status and now - float(status["beat"]) < GUARD_FRESH_SECONDS


class GuardMetrics(Collector):
    """The guard's decisions so far; every possible action and cause is exposed from the start."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._counts = counts_from_json(status)

    def collect(self) -> Iterator[Metric]:
        actions = CounterMetricFamily(
            "voice_guard_actions",
            "Decisions of the guard, by action and cause.",
            labels=["action", "cause"],
        )
        for action, causes in CAUSES_BY_ACTION.items():
            for cause in causes:
                actions.add_metric([action, cause], self._counts.get((action, cause), 0))
        yield actions


class CardMetrics(Collector):
    """Metrics of the GPUs, by their number in this appliance. Unknown values have no series."""

    def __init__(self, gpus: GpuReadings) -> None:
        self._gpus = gpus

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "voice_gpu_up",
            "1 when a GPU is present and every GPU seen so far responds.",
            float(self._gpus.complete),
        )
        info = GaugeMetricFamily(
            "voice_gpu_info",
            "GPUs by their number in this appliance; always 1.",
            labels=["gpu", "name", "uuid", "driver"],
        )
        for reading in self._gpus.readings:
            card = reading.card
            info.add_metric([str(reading.number), card.name, card.uuid, card.driver], 1)
        yield info
        yield self._gauge(
            "sm_clock_hertz", "Clock of the streaming multiprocessors.", lambda r: r.sm_clock_hertz
        )
        yield self._gauge(
            "temperature_celsius", "Temperature of the chip.", lambda r: r.temperature_celsius
        )
        yield self._gauge("power_watts", "Power drawn.", lambda r: r.power_watts)
        yield self._gauge(
            "utilization_ratio",
            "Share of the driver's last sample period in which the card was busy.",
            lambda r: r.utilization_ratio,
        )
        yield self._gauge(
            "memory_used_bytes",
            "Memory in use, by any program.",
            lambda r: r.card.memory_bytes - r.card.free_bytes,
        )
        yield self._gauge(
            "memory_total_bytes", "Memory that programs can use.", lambda r: r.card.memory_bytes
        )
        yield self._gauge(
            "last_xid",
            "NVIDIA's code of the last error since the exporter's start; 0 for none.",
            lambda r: r.last_xid,
        )

    def _gauge(
        self, name: str, documentation: str, value_of: Callable[[CardReading], float | None]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"voice_gpu_{name}", documentation, labels=["gpu"])
        for reading in self._gpus.readings:
            if (value := value_of(reading)) is not None:
                family.add_metric([str(reading.number)], value)
        return family
