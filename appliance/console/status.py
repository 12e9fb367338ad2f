"""The state of the appliance on one screen, as plain lines, or as JSON; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.console.state import Card, Facts, State, judged
from appliance.console.terminal import Paint, cut, duration, printable, size, stamp, wrapped
from appliance.supervision.metrics import ProcessStats
from appliance.supervision.supervisor_client import Program

LABEL = 10  # columns of a label, as ops/voicectl-status.sh has them
MARKS = {
    "running": ("●", "green"),
    "starting": ("↻", "yellow"),
    "draining": ("↻", "yellow"),
    "degraded": ("●", "yellow"),
    "broken": ("×", "red"),
    "stopped": ("○", ""),
    "unknown": ("?", "yellow"),
}
SILENT_SECONDS = 60.0  # the guard leaves word every few seconds
ROW = "{:<11}{:<11}{:<14}{:>9}{:>12}{:>11}"
LOADING = ("STARTING", "RUNNING")


def screen(facts: Facts, paint: Paint, log: Sequence[str] = ()) -> str:
    """At most 80 columns; `log` is lines to show below, as short as logs.short makes them."""
    state = judged(facts)
    mark, colour = MARKS[state.name]
    title = f"voice-appliance {facts.version} ({facts.profile})"
    lock = paint(f" - lock {facts.lock}", "dim") if facts.lock else ""
    lines = [f"{paint(mark, colour, 'bold')} {paint(title, 'bold')}{lock}"]
    lines += _state(facts, state, paint)
    if facts.boot_pid is not None:
        lines += _field("Seal", _seal(facts))
    if facts.boot_pid is not None and (facts.programs or facts.figures):
        lines += _field("Calls", _calls(facts))
        lines += _field("Turns", _turns(facts))
        lines += _field("GPU", *_gpu(facts))
        lines += _field("Guard", _guard(facts))
        if facts.silent and state.name != "starting":
            told = paint(f"no answer from {', '.join(facts.silent)}", "yellow")
            lines.append(f"{'Silent':>{LABEL}}: {told}")
    if facts.programs:
        lines += ["", *_table(facts, facts.programs, paint)]
    if log:
        lines += ["", *log]
    return "\n".join(lines)


def plain(facts: Facts) -> str:
    """A line each, as `gitlab-ctl status` has them: run or down, name, pid, age."""
    state = judged(facts)
    word = "run" if state.exit_code == 0 else "down"
    pid = f"(pid {facts.boot_pid}) " if facts.boot_pid else ""
    since = f"{int(facts.now - state.since)}s; " if state.since else ""
    told = f"{state.name}, {state.why}" if state.why else state.name
    lines = [printable(f"{word}: appliance: {pid}{since}{told}")]
    for program in facts.programs or ():
        age = int(facts.now - program.started)
        if _alive(facts, program):
            lines.append(f"run: {program.name}: (pid {program.pid}) {age}s")
        else:
            lines.append(f"down: {program.name}: {program.state.lower()}")
    return "\n".join(lines)


def as_json(facts: Facts) -> str:
    """Everything on the screen for a program to read. Times are RFC 3339, sizes bytes."""
    state, found = judged(facts), facts.figures
    verified = facts.seal.get("verified_seconds")
    told: dict[str, Any] = {
        "state": state.name,
        "takes_calls": state.exit_code == 0,
        "exit_code": state.exit_code,
        "why": state.why,
        "since": _time(state.since),
        "now": _time(facts.now),
        "version": facts.version,
        "profile": facts.profile,
        "lock": facts.lock,
        "pid": facts.boot_pid,
        "draining": facts.draining_since is not None,
        "waiting_for": facts.waiting_for,
        "seal": {
            "verified": _time(verified),
            "full": facts.seal.get("full"),
            "bytes": facts.seal.get("bytes"),
        },
        "calls": {"now": found and found.calls_now, "max": facts.max_sessions},
        "turns": None,
        "gpu": None,
        "guard": dict(facts.guard) or None,
        "reason": dict(facts.reason) or None,
        "silent": list(facts.silent),
        "processes": [_process(facts, program) for program in facts.programs or ()],
    }
    if found is not None:
        told["calls"] |= {"ended": found.calls_ended, "refused": found.calls_refused}
        told["turns"] = {
            "total": found.turns,
            "failed": found.turns_failed,
            "response_seconds": {"p50": found.p50, "p95": found.p95},
        }
        cards = [{name: getattr(card, name) for name in Card.__slots__} for card in found.cards]
        told["gpu"] = {"up": found.gpu_up, "cards": cards}
    return json.dumps(told, indent=2)


def _field(label: str, *values: str) -> Iterator[str]:
    for value in values:
        for line in wrapped(value, LABEL + 2):
            yield f"{label:>{LABEL}}{':' if label else ' '} {line}"
            label = ""


def _state(facts: Facts, state: State, paint: Paint) -> Iterator[str]:
    _, colour = MARKS[state.name]
    head = paint(state.name, colour, "bold")
    if state.since:
        head += f" since {stamp(state.since)}; {duration(facts.now - state.since)} ago"
    yield f"{'State':>{LABEL}}: {head}"
    if state.why:
        yield from _field("", state.why)
    if state.name == "broken":
        yield from _field("Advice", str(facts.reason.get("advice", "")))
        yield from _field("Exit", f"code {facts.reason.get('exit_code')}")
    if state.name == "stopped" and facts.reason == {}:
        yield from _field("", "no boot runs here")


def _seal(facts: Facts) -> str:
    verified, seconds = facts.seal.get("verified_seconds"), facts.seal.get("took_seconds")
    if facts.seal_at < facts.boot_started:
        return "not looked at yet"
    if not verified:
        return "sizes and names compared; never read in full"
    of = f"{size(float(facts.seal.get('bytes', 0)))} in {float(seconds or 0):.1f} s"
    return f"intact; every byte read {duration(facts.now - float(verified))} ago ({of})"


def _calls(facts: Facts) -> str:
    if facts.figures is None:
        return f"not known, {facts.max_sessions} at most"
    found = facts.figures
    told = f"{found.calls_now} of {facts.max_sessions} now; {found.calls_ended} ended"
    return told + (f", {found.calls_refused} refused" if found.calls_refused else "")


def _turns(facts: Facts) -> str:
    if facts.figures is None:
        return "not known"
    found = facts.figures
    if found.p50 is None or found.p95 is None:
        return f"{found.turns}, none answered aloud yet"
    failed = f", {found.turns_failed} failed" if found.turns_failed else ""
    return f"{found.turns}{failed}; voice to voice p50 {found.p50:.2f} s, p95 {found.p95:.2f} s"


def _gpu(facts: Facts) -> list[str]:
    if facts.figures is None or facts.figures.gpu_up is None:
        return ["no card" if facts.profile == "cpu" else "not known"]
    if not facts.figures.gpu_up:
        return ["no card"]
    return [_card(card) for card in facts.figures.cards] or ["a card, of which nothing is told"]


def _card(card: Card) -> str:
    parts = [f"{card.gpu}: {card.name or 'a card'}"]
    if card.utilization_ratio is not None:
        parts.append(f"{card.utilization_ratio:.0%} busy")
    if card.memory_used_bytes is not None and card.memory_total_bytes:
        of = f"{card.memory_used_bytes / 1e9:.1f} of {card.memory_total_bytes / 1e9:.1f} GB"
        parts.append(of)
    if card.temperature_celsius is not None:
        parts.append(f"{card.temperature_celsius:.0f} °C")
    if card.power_watts is not None:
        parts.append(f"{card.power_watts:.0f} W")
    if card.last_xid:
        parts.append(f"last Xid {card.last_xid:.0f}")
    return ", ".join(parts)


def _guard(facts: Facts) -> str:
    if not facts.guard:
        return "nothing heard of it"
    silent = facts.now - float(facts.guard.get("unix_time", facts.now))
    if silent > SILENT_SECONDS:
        return f"silent for {duration(silent)}"
    last = facts.guard.get("last") or {}
    count = sum(int(it.get("count", 0)) for it in facts.guard.get("actions", []))
    if not last:
        return "has not had to act"
    what = f"{str(last.get('action', '')).replace('_', ' ')} {last.get('program', '')}".strip()
    age = duration(facts.now - float(last.get("unix_time", facts.now)))
    return f"{what} ({last.get('cause', '')}) {age} ago; {count} so far"


def _table(facts: Facts, programs: Sequence[Program], paint: Paint) -> Iterator[str]:
    head = ROW.format("UNIT", "STATE", "SINCE", "PID", "MEMORY", "RESTARTS")
    yield "  " + paint(head, "dim")
    for program in programs:
        alive, restarts = _alive(facts, program), facts.restarts.get(program.name, 0)
        word = _word(facts, program)
        since = f"{duration(facts.now - program.started)} ago" if alive else "-"
        memory = facts.vitals.get(program.name, ProcessStats()).resident_bytes
        row = ROW.format(
            cut(program.name, 10),
            word,
            since,
            program.pid or "-",
            size(memory) if memory else "-",
            restarts,
        )
        colour = ("green" if word == "running" else "yellow") if alive else "red"
        yield f"{paint('●' if alive else '×', colour)} {paint(row, '' if alive else 'red')}"


def _alive(facts: Facts, program: Program) -> bool:
    up = facts.vitals.get(program.name, ProcessStats()).up
    return bool(program.pid) and up and program.state in LOADING


def _word(facts: Facts, program: Program) -> str:
    """What supervisord calls STARTING for minutes runs as soon as it says that it is ready."""
    if program.name == "gateway" and facts.draining_since is not None and _alive(facts, program):
        return "draining"
    ready = facts.figures.ready.get(program.name) if facts.figures else None
    if ready is None or not _alive(facts, program):
        return program.state.lower()
    return "running" if ready else "not ready"


def _process(facts: Facts, program: Program) -> dict[str, Any]:
    of = facts.vitals.get(program.name, ProcessStats())
    return {
        "name": program.name,
        "state": _word(facts, program),
        "up": _alive(facts, program),
        "pid": program.pid or None,
        "since": _time(program.started),
        "memory_bytes": of.resident_bytes,
        "cpu_seconds": round(of.cpu_seconds, 2),
        "restarts": facts.restarts.get(program.name, 0),
    }


def _time(unix_seconds: float | None) -> str | None:
    if not unix_seconds:
        return None
    at = datetime.fromtimestamp(float(unix_seconds), UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
