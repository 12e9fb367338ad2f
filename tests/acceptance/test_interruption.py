"""Evaluation of interruptions."""

from __future__ import annotations

from appliance.acceptance.interruption import evaluate


def states(stop_seconds: list[float], answered: int) -> list[str]:
    return [result.state for result in evaluate(stop_seconds, answered, limit_seconds=0.4)]


def test_fast_stop_and_an_answer_to_each_interruption_pass() -> None:
    assert states([0.2, 0.3], answered=2) == ["pass", "pass"]


def test_slow_stop_and_missing_answer_fail() -> None:
    assert states([0.2, 0.5], answered=1) == ["fail", "fail"]


def test_run_without_an_interruption_fails() -> None:
    assert states([], answered=0) == ["fail"]
