"""boot's eye on the guard."""

from __future__ import annotations

from appliance.settings import Settings
from appliance.supervision.guard import GuardWatch
from appliance.supervision.policy import Decision
from appliance.supervision.supervisor_client import Change, Program

RUNNING = Program("guard", "RUNNING", 7, 100)
OTHER = Program("tts", "FATAL", 0, 100)


class Time:
    """boot looks once a second; the guard's beat is new every fifth time, while it beats."""

    def __init__(self) -> None:
        self.watch = GuardWatch(Settings())
        self.now = 0.0
        self.beat = 1.0

    def look(self, seconds: int, *changes: Change, beating: bool = True) -> list[Decision]:
        found: list[Decision] = []
        for second in range(seconds):
            self.now += 1
            if beating and int(self.now) % 5 == 0:
                self.beat = self.now
            told = {"beat": self.beat} if self.beat else {}
            now = changes if second == 0 else ()
            found += self.watch.look(self.now, [RUNNING, OTHER], now, told)
        return found


def test_a_guard_that_beats_is_left_alone_and_so_are_the_others() -> None:
    assert Time().look(600, Change("gave_up", OTHER), Change("restarted", OTHER)) == []


def test_a_frozen_guard_is_restarted_once() -> None:
    time = Time()
    time.look(60)
    found = time.look(120, beating=False)
    assert [(it.action, it.symptom.cause) for it in found] == [("restart_process", "silent")]
    assert time.look(60, Change("restarted", RUNNING)) == []


def test_a_guard_that_never_begins_to_beat_is_found_too() -> None:
    time = Time()
    time.beat = 0.0
    assert time.look(50, beating=False) == []
    assert [it.symptom.cause for it in time.look(30, beating=False)] == ["silent"]


def test_a_guard_that_dies_again_and_again_ends_the_appliance() -> None:
    time = Time()
    found = [time.look(10, Change("restarted", RUNNING)) for _ in range(6)]
    assert [it.action for its in found[:5] for it in its] == ["restart_process"] * 5
    error = found[5][0].error
    assert error is not None and error.reason == "restart_loop"


def test_a_guard_that_supervisord_gave_up_ends_the_appliance() -> None:
    error = Time().look(1, Change("gave_up", RUNNING))[0].error
    assert error is not None and error.reason == "program_failed"
