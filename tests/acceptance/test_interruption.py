"""What is made of interruptions."""

from __future__ import annotations

from appliance.acceptance.interruption import judge


def test_quick_silence_and_an_answer_to_each_pass() -> None:
    assert [one.state for one in judge([0.2, 0.3], 2, 0.4)] == ["pass", "pass"]


def test_one_slow_one_and_one_without_an_answer_fail() -> None:
    assert [one.state for one in judge([0.2, 0.5], 1, 0.4)] == ["fail", "fail"]


def test_where_nothing_could_be_interrupted_nothing_is_proven() -> None:
    (result,) = judge([], 0, 0.4)
    assert result.state == "fail"
