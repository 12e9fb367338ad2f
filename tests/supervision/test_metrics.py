"""The exporter's own metrics: processes, guard and GPUs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from appliance import run_folder
from appliance.gpu.cards import GpuCard
from appliance.gpu.readings import CardReading, GpuReadings
from appliance.processes import PROGRAMS
from appliance.supervision.metrics import (
    GUARD_FRESH_SECONDS,
    CardMetrics,
    GuardMetrics,
    ProcessMetrics,
    ProcessStats,
    guard_is_alive,
    measure_processes,
)
from appliance.supervision.policy import CAUSES_BY_ACTION, GuardHistory, RestartLimits, Symptom
from appliance.supervision.supervisor_client import Program

LIMITS = RestartLimits(5, 60.0)
L4 = GpuCard("NVIDIA L4", 22 << 30, 8 << 30, (8, 9), "580.95.05", "GPU-14")
BUSY = CardReading(1, L4, 2.04e9, 55, 71.5, 0.37, 13)


def registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


# Processes.


def test_live_process_is_up_and_measured() -> None:
    stats = measure_processes([Program("gateway", "RUNNING", os.getpid(), 1)])["gateway"]
    assert stats.up
    assert stats.resident_bytes > 1_000_000
    assert stats.cpu_seconds > 0
    assert stats.started_seconds > 1_600_000_000


def test_exited_process_and_zombie_are_down() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    stats = measure_processes(
        [
            Program("gateway", "RUNNING", ended.pid, 1),
            Program("tts", "BACKOFF", 0, 1),
            Program("llm", "RUNNING", zombie.pid, 1),
        ]
    )
    zombie.wait()
    assert not any(process.up for process in stats.values())


def test_every_process_is_exposed_even_if_no_value_is_known() -> None:
    value = registry(ProcessMetrics({}, {}, {})).get_sample_value
    for name in PROGRAMS:
        for metric in (
            "voice_process_up",
            "voice_process_ready",
            "voice_process_restarts_total",
            "voice_process_start_time_seconds",
            "voice_process_resident_memory_bytes",
            "voice_process_cpu_seconds_total",
        ):
            assert value(metric, {"process": name}) == 0, (metric, name)


def test_known_process_values_are_exposed() -> None:
    stats = {"tts": ProcessStats(True, 1.5, 2048, 0.25)}
    value = registry(ProcessMetrics(stats, {"tts": 3}, {"tts": True})).get_sample_value
    tts = {"process": "tts"}
    assert value("voice_process_up", tts) == 1
    assert value("voice_process_ready", tts) == 1
    assert value("voice_process_restarts_total", tts) == 3
    assert value("voice_process_cpu_seconds_total", tts) == 0.25


# The guard.


def actions(status: dict[str, object], action: str, cause: str) -> float | None:
    labels = {"action": action, "cause": cause}
    return registry(GuardMetrics(status)).get_sample_value("voice_guard_actions_total", labels)


def test_every_action_and_cause_is_exposed_before_the_first_action() -> None:
    for action, causes in CAUSES_BY_ACTION.items():
        assert [actions({}, action, cause) for cause in causes] == [0] * len(causes)


def test_guard_actions_are_counted_by_cause() -> None:
    history = GuardHistory(LIMITS)
    history.decide(Symptom("silent", "tts"), 1.0, 0.0)
    history.decide(Symptom("silent", "gateway"), 1.0, 0.0)
    status = history.to_json()
    assert actions(status, "restart_process", "silent") == 2
    assert actions(status, "restart_process", "exited") == 0


def test_guard_is_alive_while_its_heartbeat_is_fresh() -> None:
    assert guard_is_alive({"beat": 100.0}, 101.0)
    assert not guard_is_alive({"beat": 100.0}, 101.0 + GUARD_FRESH_SECONDS)
    assert not guard_is_alive({}, 1.0)


def test_counts_of_an_earlier_guard_are_kept_but_not_its_heartbeat(tmp_path: Path) -> None:
    history = GuardHistory(LIMITS)
    history.decide(Symptom("fatal", "tts"), 1.0, 0.0)
    run_folder.write_guard(tmp_path, {"beat": 1.0, **history.to_json()})
    run_folder.claim(tmp_path).close()
    status = run_folder.read_guard(tmp_path)
    assert actions(status, "end_appliance", "fatal") == 1
    assert not guard_is_alive(status, 1.0)
    restored = GuardHistory.from_json(LIMITS, status)
    assert (restored.counts, restored.last, restored.restarts) == (history.counts, {}, {})


# The cards.


def gpu_registry(*readings: CardReading, complete: bool = True) -> CollectorRegistry:
    return registry(CardMetrics(GpuReadings(readings, complete)))


def test_gpu_is_exposed_under_its_index() -> None:
    value = gpu_registry(BUSY).get_sample_value
    labels = {"gpu": "1"}
    assert value("voice_gpu_up") == 1
    assert value("voice_gpu_sm_clock_hertz", labels) == 2.04e9
    assert value("voice_gpu_temperature_celsius", labels) == 55
    assert value("voice_gpu_power_watts", labels) == 71.5
    assert value("voice_gpu_utilization_ratio", labels) == 0.37
    assert value("voice_gpu_memory_used_bytes", labels) == 14 << 30
    assert value("voice_gpu_memory_total_bytes", labels) == 22 << 30
    assert value("voice_gpu_last_xid", labels) == 13
    info = {**labels, "name": "NVIDIA L4", "uuid": "GPU-14", "driver": "580.95.05"}
    assert value("voice_gpu_info", info) == 1


def test_only_voice_gpu_up_is_exposed_without_gpus() -> None:
    families = list(gpu_registry(complete=False).collect())
    assert [s.name for family in families for s in family.samples] == ["voice_gpu_up"]
    assert [s.value for family in families for s in family.samples] == [0]


def test_value_that_a_gpu_does_not_report_has_no_series() -> None:
    value = gpu_registry(CardReading(0, L4, None, None, None, None, None)).get_sample_value
    assert value("voice_gpu_power_watts", {"gpu": "0"}) is None
    assert value("voice_gpu_last_xid", {"gpu": "0"}) is None
    assert value("voice_gpu_memory_total_bytes", {"gpu": "0"}) == 22 << 30
