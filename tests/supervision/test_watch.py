"""What changed between two looks at the programs."""

from __future__ import annotations

from appliance.supervision.supervisor_client import Program, Watch


def kinds(watch: Watch, state: str, pid: int, started: int) -> list[str]:
    return [change.kind for change in watch.look([Program("tts", state, pid, started)])]


def test_a_first_start_is_no_restart() -> None:
    watch = Watch(["tts"])
    assert kinds(watch, "STARTING", 10, 100) == ["started"]
    assert kinds(watch, "STARTING", 10, 100) == []
    assert kinds(watch, "RUNNING", 10, 100) == ["running"]
    assert watch.restarts == {"tts": 0}


def test_a_death_and_return_between_two_looks_is_noticed() -> None:
    watch = Watch(["tts"])
    kinds(watch, "RUNNING", 10, 100)
    assert kinds(watch, "RUNNING", 11, 160) == ["restarted"]
    assert kinds(watch, "RUNNING", 12, 160) == ["restarted"]  # within the same second
    assert watch.restarts == {"tts": 2}


def test_a_start_that_was_already_over_when_we_looked_is_counted() -> None:
    watch = Watch(["tts"])
    kinds(watch, "BACKOFF", 0, 100)
    assert kinds(watch, "BACKOFF", 0, 103) == ["restarted"]
    assert watch.restarts == {"tts": 1}


def test_a_program_that_died_has_ended_once_and_gave_up_once() -> None:
    watch = Watch(["tts"])
    kinds(watch, "STARTING", 10, 100)
    assert kinds(watch, "BACKOFF", 0, 100) == ["ended"]
    assert kinds(watch, "BACKOFF", 0, 100) == []
    assert kinds(watch, "FATAL", 0, 100) == ["gave_up"]
    assert kinds(watch, "FATAL", 0, 100) == []


def test_a_program_nobody_announced_is_counted_too() -> None:
    watch = Watch([])
    kinds(watch, "RUNNING", 10, 100)
    kinds(watch, "RUNNING", 11, 101)
    assert watch.restarts == {"tts": 1}
