"""When a drain is complete, and what it reports until then."""

from __future__ import annotations

from pathlib import Path

from appliance import run_folder
from appliance.console.drain import (
    CALLS_LEFT,
    DRAINED,
    NOT_RUNNING,
    DrainWait,
    close,
    drain,
    open_again,
    undo,
)


def test_drain_completes_after_two_empty_polls() -> None:
    wait = DrainWait(deadline=60.0)
    codes = [wait.poll(calls, float(now)) for now, calls in enumerate((2, 0, 1, 0, 0))]
    assert codes == [None, None, None, None, DRAINED]


def test_unresponsive_gateway_does_not_count_as_empty() -> None:
    wait = DrainWait(deadline=3.0)
    assert [wait.poll(None, now) for now in (0.0, 1.0, 2.0)] == [None] * 3
    assert wait.poll(None, 3.0) == CALLS_LEFT


def test_second_empty_poll_counts_even_after_the_deadline() -> None:
    wait = DrainWait(deadline=1.0)
    assert wait.poll(0, 0.9) is None
    assert wait.poll(0, 1.4) == DRAINED


def test_progress_reports_changes_and_repeats_itself_after_ten_seconds() -> None:
    wait = DrainWait(deadline=60.0)
    polls = ((2, 0.0), (2, 0.5), (1, 1.0), (1, 10.9), (1, 11.0), (None, 11.5))
    assert [wait.progress(calls, now) for calls, now in polls] == [
        "2 calls in progress",
        "",
        "1 call in progress",
        "",
        "1 call in progress",
        "the gateway does not answer",
    ]


def test_stopped_appliance_is_not_drained(tmp_path: Path) -> None:
    lines: list[str] = []
    assert drain(tmp_path, None, lines.append) == NOT_RUNNING
    assert undo(tmp_path, lines.append) == NOT_RUNNING
    assert close(tmp_path, lines.append) == NOT_RUNNING
    assert open_again(tmp_path, lines.append) == NOT_RUNNING
    assert lines == ["the appliance is not running"] * 4
    assert run_folder.draining_since(tmp_path) is None


def test_drain_without_waiting_returns_at_once_and_can_be_undone(tmp_path: Path) -> None:
    lines: list[str] = []
    with run_folder.claim(tmp_path):
        assert drain(tmp_path, None, lines.append) == DRAINED
        assert run_folder.draining_since(tmp_path) is not None
        assert undo(tmp_path, lines.append) == DRAINED
    assert run_folder.draining_since(tmp_path) is None
    assert lines[-1] == "new calls are accepted again"


def test_drain_that_times_out_has_its_own_exit_code_and_stays_in_force(tmp_path: Path) -> None:
    lines: list[str] = []
    with run_folder.claim(tmp_path):
        assert drain(tmp_path, 0.0, lines.append) == CALLS_LEFT
    assert run_folder.draining_since(tmp_path) is not None
    assert "the gateway does not answer" in lines


def test_open_ends_both_a_drain_and_the_closed_state(tmp_path: Path) -> None:
    lines: list[str] = []
    with run_folder.claim(tmp_path):
        assert close(tmp_path, lines.append) == DRAINED
        assert drain(tmp_path, None, lines.append) == DRAINED
        assert run_folder.closed_since(tmp_path) is not None
        assert open_again(tmp_path, lines.append) == DRAINED
    assert run_folder.closed_since(tmp_path) is None
    assert run_folder.draining_since(tmp_path) is None
