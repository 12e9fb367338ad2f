"""The report on a terminal."""

from __future__ import annotations

from appliance.acceptance.report import COLUMNS, Report, Result, lines, verdict


def test_what_passed_is_one_line_and_what_failed_says_what_to_do() -> None:
    assert lines(Result("seal", "pass", "intact", "intact")) == "pass  seal          intact"
    shown = lines(Result("latency", "fail", "9 s", "at most 2 s", "Look at the card."))
    assert shown.splitlines()[0].startswith("FAIL  latency")
    assert "wanted: at most 2 s" in shown
    assert "to do:  Look at the card." in shown


def test_a_failure_whose_text_says_what_to_do_is_not_followed_by_an_empty_line() -> None:
    shown = lines(Result("overload", "fail", "busy; call again later", "the check made to its end"))
    assert [line.split()[0] for line in shown.split("\n")] == ["FAIL", "wanted:"]


def test_long_words_and_control_characters_do_not_break_the_table() -> None:
    shown = lines(Result("words", "fail", "\x1b[2J" + "word " * 60, "x" * 300, "y"))
    assert "\x1b" not in shown
    assert max(len(line) for line in shown.splitlines()) <= COLUMNS


def test_the_last_line_is_the_verdict(report: Report) -> None:
    assert verdict(report, 61.2) == "NOT ACCEPTED: 2 passed, 1 failed, 1 skipped, in 61 s"
