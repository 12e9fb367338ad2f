"""Every cell of the guard's decision table, and the history of its decisions."""

from __future__ import annotations

import json
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
from appliance.processes import ENGINES, GUARD, PROGRAMS
from appliance.settings import Settings, load
from appliance.supervision.policy import (
    CAUSES_BY_ACTION,
    Action,
    Cause,
    GuardHistory,
    RestartLimits,
    Symptom,
    decide,
)

LIMITS = RestartLimits(max_restarts=5, window_seconds=600.0)
TOO_OFTEN = {
    "exited": RestartLoop,
    "sick": RestartLoop,
    "silent": NotAnswering,
    "not_ready": NeverReady,
    "memory": MemoryGrown,
}
AT_ONCE = {"fatal": ProgramFailed, "refused": MissingWeights, "gpu_lost": GpuLost}
GUARDED = tuple(name for name in PROGRAMS if name != GUARD)


def symptom(cause: Cause, program: str) -> Symptom:
    return Symptom(cause, program, why="fell off the bus", error=MissingWeights(path="model"))


@pytest.mark.parametrize(("cause", "program"), [*product(TOO_OFTEN, GUARDED)])
def test_process_is_restarted_up_to_the_limit_then_the_appliance_shuts_down(
    cause: Cause, program: str
) -> None:
    for before in range(5):
        decision = decide(symptom(cause, program), before, LIMITS)
        both = program in ENGINES and before == 2
        assert decision.action == ("restart_engines" if both else "restart_process")
        assert decision.programs == (ENGINES if both else (program,))
        assert (decision.restarts, decision.error) == (before + 1, None)
    for before in (5, 6, 100):
        decision = decide(symptom(cause, program), before, LIMITS)
        assert decision.action == "end_appliance"
        assert type(decision.error) is TOO_OFTEN[cause]
        assert f"{program} was restarted {before} times in 600 s" in str(decision.error)
        assert decision.programs == ()


@pytest.mark.parametrize(("cause", "before"), [*product(AT_ONCE, (0, 3, 100))])
def test_cause_that_no_restart_can_fix_shuts_the_appliance_down_at_once(
    cause: Cause, before: int
) -> None:
    decision = decide(symptom(cause, "tts"), before, LIMITS)
    assert decision.action == "end_appliance"
    assert type(decision.error) is AT_ONCE[cause]
    assert decision.restarts == before


@pytest.mark.parametrize(("program", "before"), [*product(GUARDED, (0, 2, 5, 100))])
def test_failed_start_is_left_to_supervisord(program: str, before: int) -> None:
    decision = decide(symptom("not_started", program), before, LIMITS)
    assert (decision.action, decision.programs) == ("restart_process", (program,))


@pytest.mark.parametrize("allowed", range(6))
def test_both_engines_are_restarted_once_but_never_at_the_first_restart(allowed: int) -> None:
    limits = RestartLimits(allowed, 600.0)
    actions = [decide(Symptom("exited", "tts"), n, limits).action for n in range(allowed)]
    assert actions.count("restart_engines") == (1 if allowed >= 2 else 0)
    assert actions[:1] != ["restart_engines"]


def test_each_shutdown_cause_has_its_own_exit_code_that_requests_a_host_restart() -> None:
    kinds: list[type[ApplianceError]] = [*TOO_OFTEN.values(), GpuLost]
    codes = {kind.exit_code for kind in kinds}
    assert len(codes) == len(set(kinds))
    assert all(80 <= code <= 89 for code in codes)


def test_metric_exposes_exactly_the_possible_decisions() -> None:
    possible = {
        (decide(symptom(cause, program), before, LIMITS).action, cause)
        for cause, program, before in product(get_args(Cause), GUARDED, range(7))
    }
    assert possible == {
        (action, cause) for action, causes in CAUSES_BY_ACTION.items() for cause in causes
    }
    assert set(CAUSES_BY_ACTION) == set(get_args(Action))


def test_refusal_without_a_recorded_error_counts_as_failed_program() -> None:
    assert type(decide(Symptom("refused", "tts"), 0, LIMITS).error) is ProgramFailed


def test_restart_limits_come_from_settings() -> None:
    settings = load(
        {
            "VOICE_SUPERVISION_MAX_RESTARTS": "2",
            "VOICE_SUPERVISION_RESTART_WINDOW_SECONDS": "60",
        }
    )
    assert RestartLimits.from_settings(settings) == RestartLimits(2, 60.0)
    assert RestartLimits.from_settings(Settings()).max_restarts == 5


# The history.

TWO_IN_100_S = RestartLimits(max_restarts=2, window_seconds=100.0)
EXITED = Symptom("exited", "gateway")


def test_restarts_are_counted_per_process_within_the_window() -> None:
    history = GuardHistory(TWO_IN_100_S)
    for now in (0.0, 99.0, 101.0, 200.0):  # never three within 100 s
        assert history.decide(EXITED, now, 0.0).action == "restart_process"
        assert history.decide(Symptom("exited", "exporter"), now, 0.0).action == "restart_process"
    assert history.decide(EXITED, 200.5, 0.0).action == "end_appliance"


def test_causes_add_up_and_the_last_one_determines_the_error() -> None:
    history = GuardHistory(TWO_IN_100_S)
    history.decide(EXITED, 0.0, 0.0)
    history.decide(Symptom("silent", "gateway"), 1.0, 0.0)
    decision = history.decide(Symptom("memory", "gateway"), 2.0, 1.7e9)
    assert decision.error is not None and decision.error.reason == "memory_grown"
    assert history.last == {
        "action": "end_appliance",
        "cause": "memory",
        "program": "gateway",
        "restarts": 2,
        "unix_time": 1.7e9,
    }


def test_restarted_guard_continues_the_published_history() -> None:
    history = GuardHistory(TWO_IN_100_S)
    history.decide(EXITED, 0.0, 0.0)
    history.decide(EXITED, 1.0, 0.0)
    restored = GuardHistory.from_json(TWO_IN_100_S, json.loads(json.dumps(history.to_json())))
    assert restored == history
    assert restored.decide(EXITED, 2.0, 0.0).action == "end_appliance"
    assert restored.counts["restart_process", "exited"] == 2


def test_history_is_empty_if_none_was_published() -> None:
    assert GuardHistory.from_json(TWO_IN_100_S, {}) == GuardHistory(TWO_IN_100_S)
