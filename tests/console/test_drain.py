"""How long a drain waits, and what it says meanwhile."""

from __future__ import annotations

from pathlib import Path

from appliance import run_folder
from appliance.console.drain import CALLS_LEFT, EMPTY, NOT_RUNNING, Waiting, drain, undo


def test_it_is_over_when_nobody_is_left_at_two_looks() -> None:
    waiting = Waiting(deadline=60.0)
    looks = [waiting.look(left, float(now)) for now, left in enumerate((2, 0, 1, 0, 0))]
    assert looks == [None, None, None, None, EMPTY]


def test_a_gateway_that_does_not_answer_is_not_an_empty_one() -> None:
    waiting = Waiting(deadline=3.0)
    assert [waiting.look(None, now) for now in (0.0, 1.0, 2.0)] == [None] * 3
    assert waiting.look(None, 3.0) == CALLS_LEFT


def test_the_last_look_counts_though_the_time_is_over() -> None:
    waiting = Waiting(deadline=1.0)
    assert waiting.look(0, 0.9) is None
    assert waiting.look(0, 1.4) == EMPTY


def test_it_says_what_changes_and_now_and_then_that_nothing_does() -> None:
    waiting = Waiting(deadline=60.0)
    looks = ((2, 0.0), (2, 0.5), (1, 1.0), (1, 10.9), (1, 11.0), (None, 11.5))
    assert [waiting.news(left, now) for left, now in looks] == [
        "2 calls left",
        "",
        "1 call left",
        "",
        "1 call left",
        "the gateway does not answer",
    ]


def test_what_does_not_run_cannot_be_drained(tmp_path: Path) -> None:
    told: list[str] = []
    assert drain(tmp_path, None, told.append) == NOT_RUNNING
    assert undo(tmp_path, told.append) == NOT_RUNNING
    assert told == ["nothing runs here"] * 2
    assert run_folder.draining_since(tmp_path) is None


def test_a_drain_without_waiting_is_done_at_once_and_can_be_undone(tmp_path: Path) -> None:
    told: list[str] = []
    with run_folder.claim(tmp_path):
        assert drain(tmp_path, None, told.append) == EMPTY
        assert run_folder.draining_since(tmp_path) is not None
        assert undo(tmp_path, told.append) == EMPTY
    assert run_folder.draining_since(tmp_path) is None
    assert told[-1] == "calls are taken again"


def test_time_that_is_over_has_a_code_of_its_own_and_leaves_the_drain(tmp_path: Path) -> None:
    told: list[str] = []
    with run_folder.claim(tmp_path):
        assert drain(tmp_path, 0.0, told.append) == CALLS_LEFT
    assert run_folder.draining_since(tmp_path) is not None
    assert "the gateway does not answer" in told
