"""What the guard bears, from the settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.errors import BadSetting
from appliance.settings import Settings, SupervisionConfig, load
from appliance.supervision.guard import bounds, guards_limits, limits
from appliance.supervision.policy import ENGINES
from appliance.supervision.supervisor_client import GUARD, PROGRAMS


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_an_engine_has_longer_to_load_than_supervisord_grants_a_start(profile: str) -> None:
    given = load({"VOICE_PROFILE": profile})
    assert given.supervision.load_seconds > given.supervision.start_seconds


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_a_process_that_dies_just_after_its_start_cannot_slip_through_the_window(
    profile: str,
) -> None:
    of = load({"VOICE_PROFILE": profile}).supervision
    assert (of.max_restarts + 1) * of.start_seconds < of.restart_window_seconds


def test_every_program_but_the_guard_has_a_limit_of_memory() -> None:
    assert set(limits(Settings()).memory_bytes) == set(PROGRAMS) - {GUARD}
    assert set(ENGINES) < set(PROGRAMS)


def test_the_guard_itself_is_given_longer_than_one_look_may_take() -> None:
    given = Settings()
    ours, guards = limits(given), guards_limits(given)
    assert guards.silent_seconds >= ours.silent_seconds + given.supervision.check_seconds
    assert guards.memory_bytes == {} and guards.growth_bytes == 0


@pytest.mark.parametrize(
    "name",
    [
        "check_seconds",
        "silent_seconds",
        "load_seconds",
        "growth_seconds",
        "restart_window_seconds",  # in none nothing is counted, and a loop would never end
    ],
)
def test_times_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(BadSetting, match=name.upper()):
        load({f"VOICE_SUPERVISION_{name.upper()}": "0"})


def test_restarts_are_bounded_as_set() -> None:
    given = replace(
        Settings(), supervision=SupervisionConfig(max_restarts=2, restart_window_seconds=60.0)
    )
    assert (bounds(given).max_restarts, bounds(given).window_seconds) == (2, 60.0)
