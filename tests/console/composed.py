"""Facts as a test likes them: an appliance that runs well, and what differs from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.console.state import Card, Facts, Figures
from appliance.supervision.metrics import ProcessStats
from appliance.supervision.supervisor_client import Program

NOW = 1_795_548_000.0  # 2026-11-24 19:20:00 UTC
BOOTED = NOW - 8_100
NAMES = ("exporter", "tts", "llm", "gateway", "guard")

FIGURES = Figures(
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
CARD = Card(
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
BROKEN: dict[str, Any] = {
    "reason": "seal_broken",
    "what": "The seal is broken: kokoro-82m/model.onnx has another sha256 than was sealed. " * 2,
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


def programs(state: str = "RUNNING", age: float = 8_090) -> list[Program]:
    return [Program(name, state, 41 + number, int(NOW - age)) for number, name in enumerate(NAMES)]


def facts(**changes: Any) -> Facts:
    """A cpu appliance that runs well; `figures` are changes of FIGURES."""
    found = changes.pop("figures", {})
    given = Facts(
        now=NOW,
        version="0.1.0",
        profile="cpu",
        lock="3f2a9c1b7d04",
        max_sessions=4,
        boot_pid=1,
        boot_started=BOOTED,
        waiting_for="",
        programs=programs(),
        vitals={name: ProcessStats(True, BOOTED, 312_500_000, 12.5) for name in NAMES},
        restarts=dict.fromkeys(NAMES, 0),
        figures=None if found is None else replace(FIGURES, **found),
        seal=SEAL,
        seal_at=NOW - 8_095,
        guard={},
    )
    return replace(given, **changes)


def stopped() -> Facts:
    nothing: dict[str, Any] = {
        "programs": None,
        "vitals": {},
        "figures": None,
        "seal": {},
        "waiting_for": None,
    }
    return facts(boot_pid=None, boot_started=0.0, seal_at=0.0, **nothing)


def broken() -> Facts:
    return replace(stopped(), reason=BROKEN, reason_at=NOW - 185)


def starting() -> Facts:
    return facts(
        boot_started=NOW - 12,
        waiting_for="llm and tts",
        programs=programs("STARTING", 8),
        seal_at=NOW - 9,
        figures={
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


def sealing() -> Facts:
    """Boot still reads the model files."""
    return replace(stopped(), boot_pid=1, boot_started=NOW - 4)


def draining() -> Facts:
    ready = {**FIGURES.ready, "gateway": False}
    return facts(draining_since=NOW - 75, waiting_for="draining", figures={"ready": ready})


def without_tts() -> Facts:
    """tts was killed and is not back yet."""
    given = facts(
        waiting_for="tts",
        restarts={**dict.fromkeys(NAMES, 0), "tts": 4},
        figures={"ready_changed": NOW - 3, "ready": {**FIGURES.ready, "tts": False}},
        guard=GUARD,
    )
    down = [
        replace(program, state="BACKOFF", pid=0) if program.name == "tts" else program
        for program in given.programs or ()
    ]
    vitals = {**given.vitals, "tts": ProcessStats()}
    return replace(given, programs=down, vitals=vitals)


def on_a_card() -> Facts:
    return facts(profile="gpu", max_sessions=8, figures={"gpu_up": True, "cards": (CARD,)})


ALL = {
    "stopped": stopped,
    "broken": broken,
    "starting": starting,
    "sealing": sealing,
    "draining": draining,
    "degraded": without_tts,
    "running": facts,
    "gpu": on_a_card,
}
