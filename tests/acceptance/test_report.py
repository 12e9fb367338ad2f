"""The report as JSON and as terminal text, and its percentiles."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.acceptance.report import (
    TERMINAL_COLUMNS,
    AcceptanceReport,
    CheckResult,
    format_result,
    format_seconds,
    format_verdict,
    from_tree,
    judge,
    skip,
    to_tree,
)
from appliance.gpu_proof.record import percentile

values = st.lists(st.floats(0, 1e4), min_size=1)


def test_report_round_trips_through_json(report: AcceptanceReport) -> None:
    again = from_tree(json.loads(json.dumps(to_tree(report))))
    assert to_tree(again) == to_tree(report)
    assert again.results == report.results


def test_failed_check_fails_the_report_and_a_skipped_one_does_not(
    report: AcceptanceReport,
) -> None:
    assert not report.passed
    others = [result for result in report.results if result.state != "fail"]
    assert dataclasses.replace(report, results=others).passed
    assert (report.count("pass"), report.count("fail"), report.count("skipped")) == (2, 1, 1)


def test_only_failed_results_have_advice() -> None:
    assert judge("x", True, "found", "wanted", "do this").advice == ""
    assert judge("x", False, "found", "wanted", "do this").advice == "do this"
    assert skip("x", "why").state == "skipped"


def test_report_of_another_schema_is_refused(report: AcceptanceReport) -> None:
    with pytest.raises(ValueError, match="schema 7"):
        from_tree({**to_tree(report), "schema": 7})


def test_passed_check_is_one_line_and_failed_check_has_advice() -> None:
    passed = format_result(CheckResult("seal", "pass", "intact", "intact"))
    assert passed == "pass  seal          intact"
    failed = format_result(CheckResult("latency", "fail", "9 s", "at most 2 s", "Check the card."))
    assert failed.splitlines()[0].startswith("FAIL  latency")
    assert "wanted: at most 2 s" in failed
    assert "to do:  Check the card." in failed


def test_failure_without_advice_has_no_line_for_it() -> None:
    text = format_result(CheckResult("overload", "fail", "busy; call again later", "the check"))
    assert [line.split()[0] for line in text.split("\n")] == ["FAIL", "wanted:"]


def test_long_text_and_control_characters_do_not_break_the_layout() -> None:
    text = format_result(CheckResult("words", "fail", "\x1b[2J" + "word " * 60, "x" * 300, "y"))
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= TERMINAL_COLUMNS


def test_last_line_is_the_overall_result(report: AcceptanceReport) -> None:
    expected = "NOT ACCEPTED: 2 passed, 1 failed, 1 skipped, in 61 s"
    assert format_verdict(report, 61.2) == expected


@given(values, st.floats(0, 1))
def test_percentile_is_at_or_above_its_share_of_values(values: list[float], share: float) -> None:
    result = percentile(values, share)
    assert result in values
    assert sum(value <= result for value in values) >= share * len(values) - 1e-6


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile([15, 20, 35, 40, 50], 0.4) == 20
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.95) == 3
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_short_durations_are_formatted_in_milliseconds() -> None:
    assert (format_seconds(0.2837), format_seconds(1.5)) == ("284 ms", "1.50 s")
