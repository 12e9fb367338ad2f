"""The policy for unhealthy processes: the table of the guard's decisions. No I/O.

    cause        meaning                                  first            again    too often
    exited       the process exited by itself             restart_process  engines  RestartLoop
    sick         it exited because its model gave wrong   restart_process  engines  RestartLoop
                 output (NaN, or a failed probe)
    silent       it is unresponsive: frozen, deadlocked   restart_process  engines  NotAnswering
    not_ready    it answers, but its model never loads    restart_process  engines  NeverReady
    memory       over its limit, or growing steadily      restart_process  engines  MemoryGrown
    not_started  it exited while starting; supervisord    restart_process           (fatal)
                 counts these and gives up by itself
    fatal        supervisord gave up on it                ProgramFailed
    refused      it reported why it cannot start          that error
    gpu_lost     a GPU that was present is gone           GpuLost

The column depends on how often the process was restarted within the window. Restarts by supervisord
count like restarts by the guard. "again" restarts both engines, once, halfway through the allowed
restarts: the engines share the GPU and the memory, so a fault in one may affect the other. An error
name means that the appliance stops with that error.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.errors import (
    ApplianceError,
    GpuLost,
    MemoryGrown,
    NeverReady,
    NotAnswering,
    ProgramFailed,
    RestartLoop,
)
from appliance.processes import ENGINES
from appliance.settings import Settings

Cause = Literal[
    "exited",
    "sick",
    "silent",
    "not_ready",
    "memory",
    "not_started",
    "fatal",
    "refused",
    "gpu_lost",
]
Action = Literal["restart_process", "restart_engines", "end_appliance"]

# The error with which the appliance stops after too many restarts for one cause.
TOO_OFTEN: dict[Cause, type[ApplianceError]] = {
    "exited": RestartLoop,
    "sick": RestartLoop,
    "silent": NotAnswering,
    "not_ready": NeverReady,
    "memory": MemoryGrown,
}
# Every pair that the table can produce; the metric exposes each from the start, at 0.
CAUSES_BY_ACTION: dict[Action, tuple[Cause, ...]] = {
    "restart_process": (*TOO_OFTEN, "not_started"),
    "restart_engines": (*TOO_OFTEN,),
    "end_appliance": (*TOO_OFTEN, "fatal", "refused", "gpu_lost"),
}


@dataclass(frozen=True, slots=True)
class Symptom:
    """One problem of `program`; an empty name stands for the machine.

    seconds       how long the program has been unresponsive or not ready
    memory_bytes  the program's memory, for the cause `memory`
    why           what the GPU driver reported, for `gpu_lost`
    error         why the program refused to start, for `refused`
    """

    cause: Cause
    program: str = ""
    seconds: float = 0.0
    memory_bytes: int = 0
    why: str = ""
    error: ApplianceError | None = None


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """At most `max_restarts` of one process within any `window_seconds`."""

    max_restarts: int
    window_seconds: float

    @classmethod
    def from_settings(cls, settings: Settings) -> RestartLimits:
        """Read the limits from the settings."""
        supervision = settings.supervision
        return cls(supervision.max_restarts, supervision.restart_window_seconds)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a symptom.

    restarts  how often the program was restarted within the window, including this restart
    programs  the programs to restart
    error     the error with which the appliance stops; None if it continues
    """

    action: Action
    symptom: Symptom
    restarts: int
    programs: tuple[str, ...] = ()
    error: ApplianceError | None = None


def decide(symptom: Symptom, previous_restarts: int, limits: RestartLimits) -> Decision:
    """Apply the table. `previous_restarts`: restarts of the program within the window so far."""
    program, cause = symptom.program, symptom.cause
    restarts = previous_restarts + 1
    error = _fatal_error(symptom)
    if error is None and cause in TOO_OFTEN and restarts > limits.max_restarts:
        error = TOO_OFTEN[cause](
            program=program, restarts=previous_restarts, seconds=limits.window_seconds
        )
    if error is not None:
        return Decision("end_appliance", symptom, previous_restarts, error=error)
    if program in ENGINES and cause in TOO_OFTEN and restarts == _restart_of_both_engines(limits):
        return Decision("restart_engines", symptom, restarts, ENGINES)
    return Decision("restart_process", symptom, restarts, (program,))


def _fatal_error(symptom: Symptom) -> ApplianceError | None:
    """Return the error for a cause that no restart can fix; None for any other cause."""
    match symptom.cause:
        case "refused":
            return symptom.error or ProgramFailed(program=symptom.program)
        case "fatal":
            return ProgramFailed(program=symptom.program)
        case "gpu_lost":
            return GpuLost(why=symptom.why)
    return None


def _restart_of_both_engines(limits: RestartLimits) -> int:
    """Return which restart includes the other engine: the one halfway, never the first."""
    return max(2, limits.max_restarts // 2 + 1)


@dataclass(slots=True)
class GuardHistory:
    """The guard's decisions so far. Its JSON form is published in guard.json.

    counts    decisions by action and cause; a counter that survives restarts of the guard
    last      the last decision, as published
    restarts  monotonic times of recent restarts, by program
    """

    limits: RestartLimits
    counts: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    last: dict[str, Any] = field(default_factory=dict)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    def decide(self, symptom: Symptom, now: float, unix_time: float) -> Decision:
        """Apply the table and record the decision. `now` is a monotonic time."""
        window_start = now - self.limits.window_seconds
        recent = [time for time in self.restarts.get(symptom.program, []) if time > window_start]
        decision = decide(symptom, len(recent), self.limits)
        if decision.action != "end_appliance":
            self.restarts[symptom.program] = [*recent, now]
        self.counts[decision.action, symptom.cause] += 1
        self.last = {
            "action": decision.action,
            "cause": symptom.cause,
            "program": symptom.program,
            "restarts": decision.restarts,
            "unix_time": unix_time,
        }
        return decision

    def to_json(self) -> dict[str, Any]:
        """Return the history as it is published in guard.json."""
        return {
            "actions": [
                {"action": action, "cause": cause, "count": count}
                for (action, cause), count in sorted(self.counts.items())
            ],
            "last": self.last,
            "restarts": self.restarts,
        }

    @classmethod
    def from_json(cls, limits: RestartLimits, status: Mapping[str, Any]) -> GuardHistory:
        """Restore the history that an earlier guard published; empty if there is none."""
        return cls(
            limits,
            collections.Counter(counts_from_json(status)),
            dict(status.get("last", {})),
            {program: list(times) for program, times in status.get("restarts", {}).items()},
        )


def counts_from_json(status: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Return the number of decisions by action and cause, from the content of guard.json."""
    return {
        (entry["action"], entry["cause"]): entry["count"] for entry in status.get("actions", [])
    }
