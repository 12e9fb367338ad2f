"""Sample `Facts` for tests: a healthy appliance, and one in each other state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from appliance.console.state import Facts, GpuSummary, MetricsSummary, ProcessFacts

NOW = 1_795_548_000.0  # 2026-11-24 19:20:00 UTC
BOOTED = NOW - 8_100
NAMES = ("exporter", "tts", "llm", "gateway", "guard")

METRICS = MetricsSummary(
    ready_changed=NOW - 8_040,
    calls_now=2,
    calls_ended=17,
    calls_refused=3,
    turns=132,
    turns_failed=2,
    p50=1.694,
    p95=2.887,
    ready=dict.fromkeys(("exporter", "tts", "llm", "gateway"), True),
    gpu_up=False,
)
GPU = GpuSummary(
    gpu="0",
    name="NVIDIA L4",
    driver="580.65.06",
    temperature_celsius=61,
    power_watts=54.4,
    utilization_ratio=0.83,
    memory_used_bytes=19.2e9,
    memory_total_bytes=24.1e9,
    last_xid=0,
)
SEAL = {"verified_seconds": NOW - 8_095, "took_seconds": 3.1, "bytes": 812e6, "full": True}
BROKEN_SEAL: dict[str, Any] = {
    "reason": "seal_broken",
    "what": "The seal is broken: kokoro-82m/model.onnx was changed: its sha256 does not match the lock. "
    * 2,
    "advice": "Import the image again; if it happens twice, test the memory and disk of the host.",
    "exit_code": 79,
}
GUARD = {
    "actions": [{"action": "restart_process", "cause": "memory", "count": 3}],
    "last": {
        "action": "restart_process",
        "cause": "memory",
        "program": "tts",
        "restarts": 1,
        "unix_time": NOW - 744,
    },
}


def processes(state: str = "RUNNING", age: float = 8_090) -> list[ProcessFacts]:
    """All processes, each in one state and started `age` seconds ago."""
    return [
        ProcessFacts(
            name=name,
            state=state,
            pid=41 + number,
            started=int(NOW - age),
            exists=True,
            resident_bytes=312_500_000,
            cpu_seconds=12.5,
        )
        for number, name in enumerate(NAMES)
    ]


def with_process(facts: Facts, name: str, **changes: Any) -> Facts:
    """The facts with some fields of one process changed."""
    changed = [
        replace(process, **changes) if process.name == name else process
        for process in facts.processes or ()
    ]
    return replace(facts, processes=changed)


def running(**changes: Any) -> Facts:
    """A healthy appliance of the cpu profile.

    `metrics` replaces values in METRICS; None for no metrics.
    """
    metrics = changes.pop("metrics", {})
    facts = Facts(
        now=NOW,
        version="0.1.0",
        profile="cpu",
        lock="3f2a9c1b7d04",
        max_sessions=4,
        boot_pid=1,
        boot_started=BOOTED,
        waiting_for="",
        processes=processes(),
        metrics=None if metrics is None else replace(METRICS, **metrics),
        seal=SEAL,
        seal_written=NOW - 8_095,
        guard={},
    )
    return replace(facts, **changes)


def stopped() -> Facts:
    return running(
        boot_pid=None,
        boot_started=0.0,
        waiting_for=None,
        processes=None,
        metrics=None,
        seal={},
        seal_written=0.0,
    )


def broken() -> Facts:
    return replace(stopped(), reason=BROKEN_SEAL, reason_written=NOW - 185)


def starting() -> Facts:
    return running(
        boot_started=NOW - 12,
        waiting_for="llm and tts",
        processes=processes("STARTING", 8),
        seal_written=NOW - 9,
        metrics={
            "ready_changed": 0.0,
            "calls_now": 0,
            "calls_ended": 0,
            "calls_refused": 0,
            "turns": 0,
            "p50": None,
            "p95": None,
            "ready": {"exporter": True, "tts": False, "llm": False, "gateway": False},
        },
    )


def verifying() -> Facts:
    """Boot is still reading the model files."""
    return replace(stopped(), boot_pid=1, boot_started=NOW - 4)


def draining() -> Facts:
    ready = {**METRICS.ready, "gateway": False}
    return running(draining_since=NOW - 75, waiting_for="draining", metrics={"ready": ready})


def without_tts() -> Facts:
    """tts was killed and is not back yet."""
    facts = running(
        waiting_for="tts",
        metrics={"ready_changed": NOW - 3, "ready": {**METRICS.ready, "tts": False}},
        guard=GUARD,
    )
    down = ProcessFacts("tts", "BACKOFF", started=NOW - 8_090, restarts=4)
    others = [process for process in facts.processes or () if process.name != "tts"]
    return replace(facts, processes=[*others, down])


def with_gpu() -> Facts:
    return running(profile="gpu", max_sessions=8, metrics={"gpu_up": True, "gpus": (GPU,)})


ALL: Mapping[str, Callable[[], Facts]] = {
    "stopped": stopped,
    "broken": broken,
    "starting": starting,
    "verifying": verifying,
    "draining": draining,
    "degraded": without_tts,
    "running": running,
    "gpu": with_gpu,
}
