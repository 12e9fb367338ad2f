"""How much the guard bears, from the settings."""

from __future__ import annotations

from appliance.errors import BadSetting
from appliance.settings import Settings
from appliance.supervision.observe import ANSWER_SECONDS
from appliance.supervision.policy import Bounds
from appliance.supervision.symptoms import Limits

TIMES = (
    "check_seconds",
    "silent_seconds",
    "load_seconds",
    "growth_seconds",
    "restart_window_seconds",
)
GUARD_ARRIVAL_SECONDS = 60.0  # until its first beat; it loads no model, but a machine may be busy


def bounds(given: Settings) -> Bounds:
    """How often one process may be restarted."""
    return Bounds(given.supervision.max_restarts, given.supervision.restart_window_seconds)


def limits(given: Settings) -> Limits:
    """What the guard bears of a process. Raises BadSetting for times that cannot be."""
    of = given.supervision
    for name in TIMES:
        if getattr(of, name) <= 0:
            raise BadSetting(name=f"supervision.{name}", why="it has to be above 0")
    return Limits(
        silent_seconds=of.silent_seconds,
        load_seconds=of.load_seconds,
        longest_step_seconds=of.check_seconds + 2 * ANSWER_SECONDS,
        memory_bytes={
            "gateway": of.gateway_memory_bytes,
            "llm": of.llm_memory_bytes,
            "tts": of.tts_memory_bytes,
            "exporter": of.exporter_memory_bytes,
        },
        growth_seconds=of.growth_seconds,
        growth_bytes=of.growth_bytes,
    )


def guards_limits(given: Settings) -> Limits:
    """What boot bears of the guard, whose beat may be late by a look and its answers."""
    of = limits(given)
    return Limits(
        silent_seconds=of.silent_seconds + of.longest_step_seconds,
        load_seconds=GUARD_ARRIVAL_SECONDS,
        longest_step_seconds=of.longest_step_seconds,
    )
