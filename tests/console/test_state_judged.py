"""Which word fits the facts, and the exit code that goes with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.console.state import CANNOT_TELL, TAKES_CALLS, TAKES_NONE, judged
from appliance.supervision.metrics import ProcessStats
from tests.console import composed
from tests.console.composed import NOW, facts

CODES = {
    "stopped": ("stopped", TAKES_NONE),
    "broken": ("broken", TAKES_NONE),
    "starting": ("starting", TAKES_NONE),
    "sealing": ("starting", TAKES_NONE),
    "draining": ("draining", TAKES_NONE),
    "degraded": ("degraded", TAKES_NONE),
    "running": ("running", TAKES_CALLS),
    "gpu": ("running", TAKES_CALLS),
}


@pytest.mark.parametrize("name", composed.ALL)
def test_each_state_has_its_word_and_exit_code(name: str) -> None:
    state = judged(composed.ALL[name]())
    assert (state.name, state.exit_code) == CODES[name]


def test_calls_are_taken_though_the_exporter_is_down() -> None:
    given = facts()
    state = judged(replace(given, vitals={**given.vitals, "exporter": ProcessStats()}))
    assert (state.name, state.exit_code) == ("degraded", TAKES_CALLS)
    assert state.why == "takes calls, but exporter is down"


def test_a_slow_first_start_is_a_start_even_when_supervisord_holds_it_for_done() -> None:
    given = replace(composed.starting(), programs=composed.programs("RUNNING", 90))
    assert judged(given).name == "starting"


def test_an_appliance_that_was_ready_once_does_not_start_but_lacks_something() -> None:
    state = judged(facts(waiting_for="tts", figures={"ready_changed": NOW - 5}))
    assert (state.name, state.why, state.since) == ("degraded", "waiting for tts", NOW - 5)


def test_a_gateway_that_hangs_after_hours_is_no_start() -> None:
    state = judged(facts(waiting_for="gateway", figures=None))
    assert (state.name, state.why) == ("degraded", "waiting for gateway")


def test_a_gateway_that_is_not_up_yet_is_a_start() -> None:
    young = composed.programs("STARTING", 2)
    state = judged(facts(waiting_for="gateway", figures=None, programs=young))
    assert state.name == "starting"


def test_a_process_that_keeps_dying_at_the_first_start_is_no_start_any_more() -> None:
    again = {**composed.starting().restarts, "tts": 2}
    assert judged(replace(composed.starting(), restarts=again)).name == "degraded"


def test_a_stop_in_progress_drains() -> None:
    assert judged(facts(waiting_for="draining")).name == "draining"


def test_a_drain_does_not_hide_what_is_missing() -> None:
    state = judged(facts(draining_since=NOW - 1, waiting_for="tts"))
    assert state.name == "draining"
    assert state.why.endswith("waiting for tts")


def test_processes_without_their_boot_are_a_riddle() -> None:
    state = judged(facts(boot_pid=None))
    assert (state.name, state.exit_code) == ("unknown", CANNOT_TELL)


def test_a_supervisord_that_hangs_is_told_apart_from_one_that_is_just_being_started() -> None:
    silent = {"programs": None, "waiting_for": None, "figures": None}
    hangs = judged(facts(**silent))
    assert (hangs.name, hangs.exit_code) == ("unknown", CANNOT_TELL)
    young = judged(facts(**silent, boot_started=NOW - 6, seal_at=NOW - 2))
    assert (young.name, young.why) == ("starting", "waiting for supervisord")
    answers = judged(facts(programs=None))
    assert (answers.name, answers.exit_code) == ("degraded", TAKES_CALLS)
