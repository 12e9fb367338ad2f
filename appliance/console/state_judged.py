"""Facts about an appliance, and the one word for them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.console.figures import Figures
from appliance.supervision.metrics import Vitals
from appliance.supervision.supervisor_client import Program

Name = Literal["running", "starting", "draining", "degraded", "broken", "stopped", "unknown"]
TAKES_CALLS, TAKES_NONE, CANNOT_TELL = 0, 3, 4  # exit codes, after LSB
SUPERVISOR_SECONDS = 15.0  # until supervisord has to answer


@dataclass(frozen=True, slots=True)
class Facts:
    """What could be found out; None, or nothing, for what did not answer. Times are Unix times.

    lock          first digits of the sha256 of image-manifest.lock
    boot_started  when boot claimed the run folder
    waiting_for   what /readyz says that calls wait for: empty when they are taken
    seal_at       when seal.json was last written
    silent        the sources that did not answer though boot runs
    """

    now: float
    version: str
    profile: str
    lock: str = ""
    max_sessions: int = 0
    boot_pid: int | None = None
    boot_started: float = 0.0
    draining_since: float | None = None
    waiting_for: str | None = None
    programs: Sequence[Program] | None = None
    vitals: Mapping[str, Vitals] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    figures: Figures | None = None
    seal: Mapping[str, Any] = field(default_factory=dict)
    seal_at: float = 0.0
    guard: Mapping[str, Any] = field(default_factory=dict)
    reason: Mapping[str, Any] = field(default_factory=dict)
    reason_at: float = 0.0
    silent: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class State:
    """`why` says what is waited for or what is wrong; `since` is a Unix time where it is known.

    running    takes calls, and every process is up
    starting   takes no calls yet, for the first time
    draining   takes no new calls because it was told so
    degraded   something that was there is missing; it may still take calls
    broken     ended by an error
    stopped    no boot runs here
    unknown    what answers does not fit together
    """

    name: Name
    why: str = ""
    since: float | None = None
    exit_code: int = TAKES_NONE


def judged(facts: Facts) -> State:
    """The state that follows from the facts."""
    if facts.boot_pid is None:
        return _without_boot(facts)
    if facts.programs is None:
        return _without_supervisord(facts)
    if facts.draining_since is not None or facts.waiting_for == "draining":
        return _draining(facts)
    if facts.waiting_for == "":
        down = [program.name for program in facts.programs if not _up(facts, program)]
        if down:
            why = f"takes calls, but {' and '.join(down)} {'are' if down[1:] else 'is'} down"
            return State("degraded", why, _changed(facts), TAKES_CALLS)
        return State("running", "ready for calls", _changed(facts), TAKES_CALLS)
    waiting = f"waiting for {facts.waiting_for or 'gateway'}"
    if _first_start(facts):
        return State("starting", waiting, facts.boot_started)
    return State("degraded", waiting, _changed(facts))


def _without_boot(facts: Facts) -> State:
    if facts.programs is not None:
        return State("unknown", "boot is gone, but supervisord answers", exit_code=CANNOT_TELL)
    if facts.reason:
        return State("broken", str(facts.reason.get("what", "")), facts.reason_at)
    return State("stopped")


def _without_supervisord(facts: Facts) -> State:
    if facts.seal_at < facts.boot_started:
        return State("starting", "reading the sealed model files", facts.boot_started)
    if facts.waiting_for == "":
        return State("degraded", "supervisord does not answer", exit_code=TAKES_CALLS)
    if facts.now - max(facts.boot_started, facts.seal_at) < SUPERVISOR_SECONDS:
        return State("starting", "waiting for supervisord", facts.boot_started)
    return State("unknown", "supervisord does not answer", exit_code=CANNOT_TELL)


def _draining(facts: Facts) -> State:
    left = facts.figures.calls_now if facts.figures else None
    if left is None:
        why = "new calls are refused"
    elif left == 0:
        why = "new calls are refused, none is left"
    else:
        why = f"new calls are refused, {left} {'call goes' if left == 1 else 'calls go'} on"
    if facts.waiting_for not in ("", "draining", None):
        why += f"; waiting for {facts.waiting_for}"
    return State("draining", why, facts.draining_since)


def _first_start(facts: Facts) -> bool:
    """Whether calls were never taken since boot began: nothing restarted, never been ready."""
    if any(facts.restarts.values()):
        return False
    if facts.figures is not None and facts.figures.ready_changed:
        return False
    # A gateway that is up for long and silent is frozen; its page would say that it was ready.
    gateway = [program for program in facts.programs or () if program.name == "gateway"]
    silent = facts.figures is None or facts.waiting_for in (None, "gateway")
    return not (silent and gateway and gateway[0].state == "RUNNING")


def _changed(facts: Facts) -> float | None:
    """Since when calls are taken, or not."""
    if facts.figures is not None and facts.figures.ready_changed:
        return facts.figures.ready_changed
    return None


def _up(facts: Facts, program: Program) -> bool:
    return bool(program.pid) and facts.vitals.get(program.name, Vitals()).up
