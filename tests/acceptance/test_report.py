"""The report as data."""

from __future__ import annotations

import dataclasses
import json

import pytest

from appliance.acceptance.report import Report, from_tree, judged, skipped, to_tree


def test_a_report_survives_being_written_and_read(report: Report) -> None:
    again = from_tree(json.loads(json.dumps(to_tree(report))))
    assert to_tree(again) == to_tree(report)
    assert again.results == report.results


def test_one_failed_check_fails_the_whole_and_a_skipped_one_does_not(report: Report) -> None:
    assert not report.passed
    others = [result for result in report.results if result.state != "fail"]
    assert dataclasses.replace(report, results=others).passed
    assert (report.count("pass"), report.count("fail"), report.count("skipped")) == (2, 1, 1)


def test_advice_is_given_only_where_it_failed() -> None:
    assert judged("x", True, "found", "wanted", "do this").advice == ""
    assert judged("x", False, "found", "wanted", "do this").advice == "do this"
    assert skipped("x", "why").state == "skipped"


def test_a_report_of_another_schema_is_refused(report: Report) -> None:
    with pytest.raises(ValueError, match="schema 7"):
        from_tree({**to_tree(report), "schema": 7})
