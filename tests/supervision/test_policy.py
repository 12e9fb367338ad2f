"""The guard's table, every cell of it."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from appliance.errors import (
    ApplianceError,
    GpuLost,
    MemoryGrown,
    MissingWeights,
    NeverReady,
    NotAnswering,
    ProgramFailed,
    RestartLoop,
)
from appliance.supervision.policy import ENGINES, POSSIBLE, Action, Bounds, Cause, Symptom, decide

BOUNDS = Bounds(max_restarts=5, window_seconds=600.0)
ENDS = {
    "exited": RestartLoop,
    "sick": RestartLoop,
    "silent": NotAnswering,
    "not_ready": NeverReady,
    "memory": MemoryGrown,
}
AT_ONCE = {"fatal": ProgramFailed, "refused": MissingWeights, "gpu_lost": GpuLost}
PROGRAMS = ("gateway", "exporter", "llm", "tts")


def symptom(cause: Cause, program: str) -> Symptom:
    return Symptom(cause, program, why="it fell off", error=MissingWeights(path="model"))


@pytest.mark.parametrize(("cause", "program"), [*product(ENDS, PROGRAMS)])
def test_a_process_is_restarted_as_often_as_allowed_and_then_the_appliance_ends(
    cause: Cause, program: str
) -> None:
    for before in range(5):
        decision = decide(symptom(cause, program), before, BOUNDS)
        together = program in ENGINES and before == 2
        assert decision.action == ("restart_engines" if together else "restart_process")
        assert decision.programs == (ENGINES if together else (program,))
        assert (decision.restarts, decision.error) == (before + 1, None)
    for before in (5, 6, 100):
        decision = decide(symptom(cause, program), before, BOUNDS)
        assert decision.action == "end_appliance"
        assert type(decision.error) is ENDS[cause]
        assert f"{program} was restarted {before} times in 600 s" in str(decision.error)
        assert decision.programs == ()


@pytest.mark.parametrize(("cause", "before"), [*product(AT_ONCE, (0, 3, 100))])
def test_what_no_restart_helps_ends_the_appliance_at_once(cause: Cause, before: int) -> None:
    decision = decide(symptom(cause, "tts"), before, BOUNDS)
    assert decision.action == "end_appliance"
    assert type(decision.error) is AT_ONCE[cause]
    assert decision.restarts == before


@pytest.mark.parametrize(("program", "before"), [*product(PROGRAMS, (0, 2, 5, 100))])
def test_a_start_that_failed_is_left_to_supervisord_which_gives_up_by_itself(
    program: str, before: int
) -> None:
    decision = decide(symptom("not_started", program), before, BOUNDS)
    assert (decision.action, decision.programs) == ("restart_process", (program,))


@pytest.mark.parametrize("allowed", range(6))
def test_an_engine_takes_the_other_one_along_once_and_never_at_its_first_restart(
    allowed: int,
) -> None:
    bounds = Bounds(allowed, 600.0)
    actions = [decide(Symptom("exited", "tts"), n, bounds).action for n in range(allowed)]
    assert actions.count("restart_engines") == (1 if allowed >= 2 else 0)
    assert actions[:1] != ["restart_engines"]


def test_each_ending_has_an_exit_code_of_its_own_that_asks_for_a_new_start() -> None:
    kinds: list[type[ApplianceError]] = [*ENDS.values(), GpuLost]
    codes = {kind.exit_code for kind in kinds}
    assert len(codes) == len(set(kinds))
    assert all(80 <= code <= 89 for code in codes)


def test_what_can_come_to_pass_is_what_the_metric_shows() -> None:
    come = {
        (decide(symptom(cause, program), before, BOUNDS).action, cause)
        for cause, program, before in product(get_args(Cause), PROGRAMS, range(7))
    }
    assert come == {(action, cause) for action, causes in POSSIBLE.items() for cause in causes}
    assert set(POSSIBLE) == set(get_args(Action))


def test_a_refusal_without_its_error_is_a_program_that_failed() -> None:
    assert type(decide(Symptom("refused", "tts"), 0, BOUNDS).error) is ProgramFailed
