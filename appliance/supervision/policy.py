"""What is done about a process that is not well: a table. Pure.

    cause        meaning                                 at first         again    too often
    exited       it ended by itself                      restart_process  engines  RestartLoop
    sick         it ended, as its model spoke nonsense   restart_process  engines  RestartLoop
    silent       it did not answer: frozen, deadlocked   restart_process  engines  NotAnswering
    not_ready    an engine that answers, never loads     restart_process  engines  NeverReady
    memory       it holds too much, or more and more     restart_process  engines  MemoryGrown
    not_started  it died while starting; supervisord     restart_process           (fatal)
                 counts these and gives up by itself
    fatal        supervisord gave it up                  ProgramFailed
    refused      it said why it will never start         that error
    gpu_lost     a card that was here is gone            GpuLost

The column is chosen by how often the process was restarted within the window. A process that
supervisord brings back by itself counts like one that the guard has ended. In the middle of what
is allowed ("again") an engine is not restarted alone but with the other one: they share the card
and the memory, so what ails the one may sit in the other. An error's name ends the appliance so.
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

ENGINES = ("llm", "tts")
# Too often: what the appliance ends with.
TOO_OFTEN: dict[Cause, type[ApplianceError]] = {
    "exited": RestartLoop,
    "sick": RestartLoop,
    "silent": NotAnswering,
    "not_ready": NeverReady,
    "memory": MemoryGrown,
}
# What can come to pass; the metric shows it all from the start.
POSSIBLE: dict[Action, tuple[Cause, ...]] = {
    "restart_process": (*TOO_OFTEN, "not_started"),
    "restart_engines": (*TOO_OFTEN,),
    "end_appliance": (*TOO_OFTEN, "fatal", "refused", "gpu_lost"),
}


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something is wrong with `program`; "" when it is the machine.

    seconds      how long it was silent or not ready
    memory_bytes what it holds, when that is what is wrong
    why          what the driver said of the card
    error        with which the program refused to start
    """

    cause: Cause
    program: str = ""
    seconds: float = 0.0
    memory_bytes: int = 0
    why: str = ""
    error: ApplianceError | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """One process may be restarted `max_restarts` times within `window_seconds`."""

    max_restarts: int
    window_seconds: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done. `programs` are to be restarted, `error` is what the appliance ends with.

    restarts   of this program within the window, this one counted
    """

    action: Action
    symptom: Symptom
    restarts: int
    programs: tuple[str, ...] = ()
    error: ApplianceError | None = None


def decide(symptom: Symptom, before: int, bounds: Bounds) -> Decision:
    """The table. `before`: restarts of this program within the window so far."""
    name, cause = symptom.program, symptom.cause
    restarts = before + 1
    error = _at_once(symptom)
    if error is None and cause in TOO_OFTEN and restarts > bounds.max_restarts:
        error = TOO_OFTEN[cause](program=name, restarts=before, seconds=bounds.window_seconds)
    if error is not None:
        return Decision("end_appliance", symptom, before, error=error)
    if name in ENGINES and cause in TOO_OFTEN and restarts == _together(bounds):
        return Decision("restart_engines", symptom, restarts, ENGINES)
    return Decision("restart_process", symptom, restarts, (name,))


def _at_once(symptom: Symptom) -> ApplianceError | None:
    match symptom.cause:
        case "refused":
            return symptom.error or ProgramFailed(program=symptom.program)
        case "fatal":
            return ProgramFailed(program=symptom.program)
        case "gpu_lost":
            return GpuLost(why=symptom.why)
    return None


def _together(bounds: Bounds) -> int:
    """The restart of an engine that takes the other one along: in the middle, never the first."""
    return max(2, bounds.max_restarts // 2 + 1)


@dataclass(slots=True)
class Ledger:
    """`counts` by action and cause, the `last` decision as it is published, restarts by program."""

    bounds: Bounds
    counts: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    last: dict[str, Any] = field(default_factory=dict)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    def judge(self, symptom: Symptom, now: float, unix_time: float) -> Decision:
        """Decides by the table and writes it down."""
        since = now - self.bounds.window_seconds
        times = [at for at in self.restarts.get(symptom.program, []) if at > since]
        decision = decide(symptom, len(times), self.bounds)
        if decision.action != "end_appliance":
            self.restarts[symptom.program] = [*times, now]
        self.counts[decision.action, symptom.cause] += 1
        self.last = {
            "action": decision.action,
            "cause": symptom.cause,
            "program": symptom.program,
            "restarts": decision.restarts,
            "unix_time": unix_time,
        }
        return decision

    def told(self) -> dict[str, Any]:
        """The book as it stands in guard.json."""
        return {
            "actions": [
                {"action": action, "cause": cause, "count": count}
                for (action, cause), count in sorted(self.counts.items())
            ],
            "last": self.last,
            "restarts": self.restarts,
        }

    @classmethod
    def from_told(cls, bounds: Bounds, told: Mapping[str, Any]) -> Ledger:
        """The book of the guard before this one; empty when there was none."""
        counts = {(it["action"], it["cause"]): it["count"] for it in told.get("actions", [])}
        return cls(
            bounds,
            collections.Counter(counts),
            dict(told.get("last", {})),
            {name: list(times) for name, times in told.get("restarts", {}).items()},
        )
