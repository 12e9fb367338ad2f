"""The metrics of the processes."""

from __future__ import annotations

import os
import subprocess

from prometheus_client import CollectorRegistry

from appliance.supervision.metrics import ProcessMetrics, Vitals, vitals
from appliance.supervision.supervisor_client import PROGRAMS, Program


def test_a_living_process_is_up_and_measured() -> None:
    found = vitals([Program("gateway", "RUNNING", os.getpid(), 1)])["gateway"]
    assert found.up
    assert found.resident_bytes > 1_000_000
    assert found.cpu_seconds > 0
    assert found.started_seconds > 1_600_000_000


def test_a_process_that_has_gone_or_is_a_zombie_is_down() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    found = vitals(
        [
            Program("gateway", "RUNNING", gone.pid, 1),
            Program("tts", "BACKOFF", 0, 1),
            Program("llm", "RUNNING", zombie.pid, 1),
        ]
    )
    zombie.wait()
    assert not any(process.up for process in found.values())


def test_every_process_is_on_the_page_even_when_nothing_is_known() -> None:
    registry = CollectorRegistry()
    registry.register(ProcessMetrics({}, {}, {}))
    for name in PROGRAMS:
        for metric in (
            "voice_process_up",
            "voice_process_ready",
            "voice_process_restarts_total",
            "voice_process_start_time_seconds",
            "voice_process_resident_memory_bytes",
            "voice_process_cpu_seconds_total",
        ):
            assert registry.get_sample_value(metric, {"process": name}) == 0, (metric, name)


def test_what_is_known_is_told() -> None:
    registry = CollectorRegistry()
    found = {"tts": Vitals(True, 1.5, 2048, 0.25)}
    registry.register(ProcessMetrics(found, {"tts": 3}, {"tts": True}))
    tts = {"process": "tts"}
    assert registry.get_sample_value("voice_process_up", tts) == 1
    assert registry.get_sample_value("voice_process_ready", tts) == 1
    assert registry.get_sample_value("voice_process_restarts_total", tts) == 3
    assert registry.get_sample_value("voice_process_cpu_seconds_total", tts) == 0.25
