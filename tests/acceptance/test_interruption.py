"""The evaluation of interruptions."""

from __future__ import annotations

from appliance.acceptance.interruption import evaluate


def states(stops: list[float], answered: int) -> list[str]:
    return [result.state for result in evaluate(stops, answered, limit_seconds=0.4)]


def test_quick_silence_and_an_answer_to_each_interruption_pass() -> None:
    assert states([0.2, 0.3], answered=2) == ["pass", "pass"]


def test_slow_silence_and_a_missing_answer_fail() -> None:
    assert states([0.2, 0.5], answered=1) == ["fail", "fail"]


def test_no_interruption_at_all_fails() -> None:
    assert states([], answered=0) == ["fail"]
