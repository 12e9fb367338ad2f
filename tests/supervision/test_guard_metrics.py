"""The guard's metrics."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from appliance import run_folder
from appliance.supervision.metrics import FRESH_SECONDS, GuardMetrics, beats
from appliance.supervision.policy import POSSIBLE, Bounds, Ledger, Symptom


def value(registry: CollectorRegistry, action: str, cause: str) -> float | None:
    return registry.get_sample_value(
        "voice_guard_actions_total", {"action": action, "cause": cause}
    )


def test_every_action_and_cause_is_on_the_page_before_anything_happened() -> None:
    registry = CollectorRegistry()
    registry.register(GuardMetrics({}))
    for action, causes in POSSIBLE.items():
        assert [value(registry, action, cause) for cause in causes] == [0] * len(causes)


def test_what_the_guard_did_is_told() -> None:
    ledger = Ledger(Bounds(5, 60.0))
    ledger.judge(Symptom("silent", "tts"), 1.0, 0.0)
    ledger.judge(Symptom("silent", "gateway"), 1.0, 0.0)
    registry = CollectorRegistry()
    registry.register(GuardMetrics(ledger.told()))
    assert value(registry, "restart_process", "silent") == 2
    assert value(registry, "restart_process", "exited") == 0


def test_a_guard_is_ready_while_it_beats() -> None:
    assert beats({"beat": 100.0}, 101.0)
    assert not beats({"beat": 100.0}, 101.0 + FRESH_SECONDS)
    assert not beats({}, 1.0)


def test_what_the_guard_of_an_earlier_run_did_is_told_and_is_no_beat(tmp_path: Path) -> None:
    ledger = Ledger(Bounds(5, 60.0))
    ledger.judge(Symptom("fatal", "tts"), 1.0, 0.0)
    run_folder.write_guard(tmp_path, {"beat": 1.0, **ledger.told()})
    run_folder.claim(tmp_path).close()
    told = run_folder.read_guard(tmp_path)
    registry = CollectorRegistry()
    registry.register(GuardMetrics(told))
    assert value(registry, "end_appliance", "fatal") == 1
    assert not beats(told, 1.0)
    again = Ledger.from_told(Bounds(5, 60.0), told)
    assert (again.counts, again.last, again.restarts) == (ledger.counts, {}, {})
