"""The guard's book."""

from __future__ import annotations

import json

from appliance.supervision.policy import Bounds, Ledger, Symptom

BOUNDS = Bounds(max_restarts=2, window_seconds=100.0)
EXITED = Symptom("exited", "gateway")


def test_restarts_are_counted_by_process_within_the_window() -> None:
    ledger = Ledger(BOUNDS)
    for now in (0.0, 99.0, 101.0, 200.0):  # never three within 100 s
        assert ledger.judge(EXITED, now, 0.0).action == "restart_process"
        assert ledger.judge(Symptom("exited", "exporter"), now, 0.0).action == "restart_process"
    assert ledger.judge(EXITED, 200.5, 0.0).action == "end_appliance"


def test_causes_are_added_up_and_the_last_one_names_the_end() -> None:
    ledger = Ledger(BOUNDS)
    ledger.judge(EXITED, 0.0, 0.0)
    ledger.judge(Symptom("silent", "gateway"), 1.0, 0.0)
    decision = ledger.judge(Symptom("memory", "gateway"), 2.0, 1.7e9)
    assert decision.error is not None and decision.error.reason == "memory_grown"
    assert ledger.last == {
        "action": "end_appliance",
        "cause": "memory",
        "program": "gateway",
        "restarts": 2,
        "unix_time": 1.7e9,
    }


def test_the_next_guard_goes_on_with_the_book_it_finds() -> None:
    ledger = Ledger(BOUNDS)
    ledger.judge(EXITED, 0.0, 0.0)
    ledger.judge(EXITED, 1.0, 0.0)
    again = Ledger.from_told(BOUNDS, json.loads(json.dumps(ledger.told())))
    assert again == ledger
    assert again.judge(EXITED, 2.0, 0.0).action == "end_appliance"
    assert again.counts["restart_process", "exited"] == 2


def test_without_a_book_a_new_one_is_begun() -> None:
    assert Ledger.from_told(BOUNDS, {}) == Ledger(BOUNDS)
