"""GuardMonitor: how boot detects that the guard is frozen or keeps dying."""

from __future__ import annotations

from appliance.settings import Settings
from appliance.supervision.boot import GuardMonitor
from appliance.supervision.policy import Decision
from appliance.supervision.supervisor_client import Program, ProgramChange

RUNNING = Program("guard", "RUNNING", 7, 100)
OTHER_PROGRAM = Program("tts", "FATAL", 0, 100)


class Clock:
    """Simulated time: boot polls every second, a working guard beats every five seconds."""

    def __init__(self) -> None:
        self.monitor = GuardMonitor(Settings())
        self.now = 0.0
        self.beat = 1.0

    def poll(self, seconds: int, *changes: ProgramChange, beating: bool = True) -> list[Decision]:
        decisions: list[Decision] = []
        for second in range(seconds):
            self.now += 1
            if beating and int(self.now) % 5 == 0:
                self.beat = self.now
            status = {"beat": self.beat} if self.beat else {}
            new = changes if second == 0 else ()
            decisions += self.monitor.update(self.now, [RUNNING, OTHER_PROGRAM], new, status)
        return decisions


def test_working_guard_and_other_programs_are_left_alone() -> None:
    changes = ProgramChange("gave_up", OTHER_PROGRAM), ProgramChange("restarted", OTHER_PROGRAM)
    assert Clock().poll(600, *changes) == []


def test_frozen_guard_is_restarted_once() -> None:
    clock = Clock()
    clock.poll(60)
    decisions = clock.poll(120, beating=False)
    assert [(d.action, d.symptom.cause) for d in decisions] == [("restart_process", "silent")]
    assert clock.poll(60, ProgramChange("restarted", RUNNING)) == []


def test_guard_without_a_first_heartbeat_is_unresponsive() -> None:
    clock = Clock()
    clock.beat = 0.0
    assert clock.poll(50, beating=False) == []
    decisions = clock.poll(30, beating=False)
    assert [decision.symptom.cause for decision in decisions] == ["silent"]


def test_guard_that_keeps_dying_shuts_the_appliance_down() -> None:
    clock = Clock()
    polls = [clock.poll(10, ProgramChange("restarted", RUNNING)) for _ in range(6)]
    assert [d.action for decisions in polls[:5] for d in decisions] == ["restart_process"] * 5
    error = polls[5][0].error
    assert error is not None and error.reason == "restart_loop"


def test_guard_that_supervisord_gave_up_shuts_the_appliance_down() -> None:
    error = Clock().poll(1, ProgramChange("gave_up", RUNNING))[0].error
    assert error is not None and error.reason == "program_failed"
