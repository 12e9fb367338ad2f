"""Render the state of the appliance as one screen, as plain lines or as JSON. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.console.state import Facts, GpuSummary, ProcessFacts, State, judge
from appliance.console.terminal import (
    LABEL_WIDTH,
    Paint,
    format_duration,
    format_size,
    format_time,
    printable,
    render_field,
    truncate,
)
from appliance.processes import GATEWAY

MARKS = {
    "running": ("●", "green"),
    "starting": ("↻", "yellow"),
    "draining": ("↻", "yellow"),
    "closed": ("○", "yellow"),
    "degraded": ("●", "yellow"),
    "broken": ("×", "red"),
    "stopped": ("○", ""),
    "unknown": ("?", "yellow"),
}
DAY_SECONDS = 86_400
WEAK_TOKENS = {  # by the label `weakness` of voice_token_weak
    "short_token": "the shared token is short",
    "readable_token": "all users can read the token file",
    "readable_store": "all users can read the store",
}
GAPS = {  # by the label `gap` of voice_confinement_gap
    "files": "files (the kernel has no Landlock)",
    "connections": "TCP connections (needs Linux 6.7)",
    "system_calls": "system calls",
}
GUARD_SILENT_SECONDS = 60.0  # the guard writes guard.json every few seconds
_ROW = "{:<11}{:<11}{:<14}{:>9}{:>12}{:>11}"


def render_screen(facts: Facts, paint: Paint, log: Sequence[str] = ()) -> str:
    """Render one screen of 80 columns; `log` holds formatted log lines to show below."""
    state = judge(facts)
    mark, colour = MARKS[state.name]
    title = f"voice-appliance {facts.version} ({facts.profile})"
    lock = paint(f" - lock {facts.lock}", "dim") if facts.lock else ""
    lines = [f"{paint(mark, colour, 'bold')} {paint(title, 'bold')}{lock}"]
    lines += _render_state(facts, state, paint)
    if facts.boot_pid is not None:
        lines += render_field("Seal", _describe_seal(facts))
    if facts.boot_pid is not None and (facts.processes or facts.metrics):
        lines += render_field("Calls", _describe_calls(facts))
        lines += render_field("Turns", _describe_turns(facts))
        lines += render_field("TLS", _describe_tls(facts))
        if facts.metrics and facts.metrics.weak_tokens:
            lines += render_field("Tokens", _describe_tokens(facts.metrics.weak_tokens))
        if facts.metrics and facts.metrics.gaps:
            lines += render_field("Gateway", _describe_gaps(facts.metrics.gaps))
        lines += render_field("GPU", *_describe_gpus(facts))
        lines += render_field("Guard", _describe_guard(facts))
        if facts.silent and state.name != "starting":
            text = paint(f"no answer from {', '.join(facts.silent)}", "yellow")
            lines.append(f"{'Silent':>{LABEL_WIDTH}}: {text}")
    if facts.processes:
        lines += ["", *_render_table(facts, facts.processes, paint)]
    if log:
        lines += ["", *log]
    return "\n".join(lines)


def render_plain(facts: Facts) -> str:
    """Render one line per process as `gitlab-ctl status` does: run or down, name, pid, age."""
    state = judge(facts)
    word = "run" if state.exit_code == 0 else "down"
    pid = f"(pid {facts.boot_pid}) " if facts.boot_pid else ""
    since = f"{int(facts.now - state.since)}s; " if state.since else ""
    text = f"{state.name}, {state.why}" if state.why else state.name
    lines = [printable(f"{word}: appliance: {pid}{since}{text}")]
    for process in facts.processes or ():
        if process.up:
            age = int(facts.now - process.started)
            lines.append(f"run: {process.name}: (pid {process.pid}) {age}s")
        else:
            lines.append(f"down: {process.name}: {process.state.lower()}")
    return "\n".join(lines)


def render_json(facts: Facts) -> str:
    """Render the contents of the screen as JSON. Times are RFC 3339, sizes are bytes."""
    state, metrics = judge(facts), facts.metrics
    tree: dict[str, Any] = {
        "state": state.name,
        "takes_calls": state.exit_code == 0,
        "exit_code": state.exit_code,
        "why": state.why,
        "since": _rfc3339(state.since),
        "now": _rfc3339(facts.now),
        "version": facts.version,
        "profile": facts.profile,
        "lock": facts.lock,
        "pid": facts.boot_pid,
        "draining": facts.draining_since is not None,
        "closed": facts.closed_since is not None,
        "waiting_for": facts.waiting_for,
        "seal": {
            "verified": _rfc3339(facts.seal.get("verified_seconds")),
            "full": facts.seal.get("full"),
            "bytes": facts.seal.get("bytes"),
            "code_sha256": (facts.seal.get("code") or {}).get("sha256"),
        },
        "calls": {"now": metrics and metrics.calls_now, "max": facts.max_sessions},
        "tls": {
            "state": facts.tls or None,
            "expires": _rfc3339(metrics.tls_expiry) if metrics else None,
            "key_exposed": metrics.tls_key_exposed if metrics else None,
        },
        "tokens": {"weak": list(metrics.weak_tokens) if metrics else None},
        "confinement": {"gaps": list(metrics.gaps) if metrics else None},
        "turns": None,
        "gpu": None,
        "guard": dict(facts.guard) or None,
        "reason": dict(facts.reason) or None,
        "silent": list(facts.silent),
        "processes": [_process_json(facts, process) for process in facts.processes or ()],
    }
    if metrics is not None:
        tree["calls"] |= {"ended": metrics.calls_ended, "refused": metrics.calls_refused}
        tree["turns"] = {
            "total": metrics.turns,
            "failed": metrics.turns_failed,
            "response_seconds": {"p50": metrics.p50, "p95": metrics.p95},
        }
        gpus = [{name: getattr(gpu, name) for name in GpuSummary.__slots__} for gpu in metrics.gpus]
        tree["gpu"] = {"up": metrics.gpu_up, "cards": gpus}
    return json.dumps(tree, indent=2)


def _render_state(facts: Facts, state: State, paint: Paint) -> Iterator[str]:
    _, colour = MARKS[state.name]
    text = paint(state.name, colour, "bold")
    if state.since:
        age = format_duration(facts.now - state.since)
        text += f" since {format_time(state.since)}; {age} ago"
    yield f"{'State':>{LABEL_WIDTH}}: {text}"
    if state.why:
        yield from render_field("", state.why)
    if state.name == "broken":
        yield from render_field("Advice", str(facts.reason.get("advice", "")))
        yield from render_field("Exit", f"code {facts.reason.get('exit_code')}")
    if state.name == "stopped" and facts.reason == {}:
        yield from render_field("", "no boot process is running")


def _describe_seal(facts: Facts) -> str:
    if facts.seal_written < facts.boot_started:
        return "not verified yet"
    verified, seconds = facts.seal.get("verified_seconds"), facts.seal.get("took_seconds")
    if not verified:
        return "names and sizes match; contents never verified"
    work = f"{format_size(float(facts.seal.get('bytes', 0)))} in {float(seconds or 0):.1f} s"
    text = f"intact; fully verified {format_duration(facts.now - float(verified))} ago ({work})"
    return text + ("; code, too" if facts.seal.get("code") else "")


def _describe_calls(facts: Facts) -> str:
    metrics = facts.metrics
    if metrics is None:
        return f"unknown; at most {facts.max_sessions}"
    text = f"{metrics.calls_now} of {facts.max_sessions} now; {metrics.calls_ended} ended"
    return text + (f", {metrics.calls_refused} refused" if metrics.calls_refused else "")


def _describe_tls(facts: Facts) -> str:
    if facts.tls == "plain":
        return "OFF: calls can be read on the network (gateway.plain_network)"
    if facts.tls != "on":
        return "off; only this host can connect" if facts.tls else ""
    if facts.metrics is None or not facts.metrics.tls_expiry:
        return "on; expiry unknown"
    left = facts.metrics.tls_expiry - facts.now
    if left <= 0:
        return f"on; THE CERTIFICATE EXPIRED {format_duration(-left)} ago"
    if facts.metrics.tls_key_exposed:
        return "on; WEAK: all users can read the key"
    until = format_time(facts.metrics.tls_expiry)
    return f"on; certificate valid until {until} ({int(left // DAY_SECONDS)} days)"


def _describe_tokens(weaknesses: Sequence[str]) -> str:
    return "WEAK: " + "; ".join(WEAK_TOKENS.get(each, each) for each in weaknesses)


def _describe_gaps(gaps: Sequence[str]) -> str:
    return "NOT CONFINED: " + "; ".join(GAPS.get(each, each) for each in gaps)


def _describe_turns(facts: Facts) -> str:
    metrics = facts.metrics
    if metrics is None:
        return "unknown"
    if metrics.p50 is None or metrics.p95 is None:
        return f"{metrics.turns}; no spoken answer yet"
    failed = f", {metrics.turns_failed} failed" if metrics.turns_failed else ""
    latency = f"voice to voice p50 {metrics.p50:.2f} s, p95 {metrics.p95:.2f} s"
    return f"{metrics.turns}{failed}; {latency}"


def _describe_gpus(facts: Facts) -> list[str]:
    if facts.metrics is None or facts.metrics.gpu_up is None:
        return ["none" if facts.profile == "cpu" else "unknown"]
    if not facts.metrics.gpu_up:
        return ["none"]
    return [_describe_gpu(gpu) for gpu in facts.metrics.gpus] or ["present; no details reported"]


def _describe_gpu(gpu: GpuSummary) -> str:
    parts = [f"{gpu.gpu}: {gpu.name or 'unnamed'}"]
    if gpu.utilization_ratio is not None:
        parts.append(f"{gpu.utilization_ratio:.0%} busy")
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes:
        used, total = gpu.memory_used_bytes / 1e9, gpu.memory_total_bytes / 1e9
        parts.append(f"{used:.1f} of {total:.1f} GB")
    if gpu.temperature_celsius is not None:
        parts.append(f"{gpu.temperature_celsius:.0f} °C")
    if gpu.power_watts is not None:
        parts.append(f"{gpu.power_watts:.0f} W")
    if gpu.last_xid:
        parts.append(f"last Xid {gpu.last_xid:.0f}")
    return ", ".join(parts)


def _describe_guard(facts: Facts) -> str:
    if not facts.guard:
        return "no report"
    silent = facts.now - float(facts.guard.get("unix_time", facts.now))
    if silent > GUARD_SILENT_SECONDS:
        return f"unresponsive for {format_duration(silent)}"
    last = facts.guard.get("last") or {}
    if not last:
        return "no action so far"
    total = sum(int(action.get("count", 0)) for action in facts.guard.get("actions", []))
    name = f"{str(last.get('action', '')).replace('_', ' ')} {last.get('program', '')}".strip()
    age = format_duration(facts.now - float(last.get("unix_time", facts.now)))
    return f"{name} ({last.get('cause', '')}) {age} ago; {total} in total"


def _render_table(facts: Facts, processes: Sequence[ProcessFacts], paint: Paint) -> Iterator[str]:
    head = _ROW.format("UNIT", "STATE", "SINCE", "PID", "MEMORY", "RESTARTS")
    yield "  " + paint(head, "dim")
    for process in processes:
        state = _describe_process(facts, process)
        row = _ROW.format(
            truncate(process.name, 10),
            state,
            f"{format_duration(facts.now - process.started)} ago" if process.up else "-",
            process.pid or "-",
            format_size(process.resident_bytes) if process.resident_bytes else "-",
            process.restarts,
        )
        colour = ("green" if state == "running" else "yellow") if process.up else "red"
        mark = paint("●" if process.up else "×", colour)
        yield f"{mark} {paint(row, '' if process.up else 'red')}"


def _describe_process(facts: Facts, process: ProcessFacts) -> str:
    """Describe the state of a process by its own readiness, if it reports one.

    supervisord reports STARTING for some minutes after a process is ready.
    """
    if process.name == GATEWAY and facts.draining_since is not None and process.up:
        return "draining"
    ready = facts.metrics.ready.get(process.name) if facts.metrics else None
    if ready is None or not process.up:
        return process.state.lower()
    return "running" if ready else "not ready"


def _process_json(facts: Facts, process: ProcessFacts) -> dict[str, Any]:
    return {
        "name": process.name,
        "state": _describe_process(facts, process),
        "up": process.up,
        "pid": process.pid or None,
        "since": _rfc3339(process.started),
        "memory_bytes": process.resident_bytes,
        "cpu_seconds": round(process.cpu_seconds, 2),
        "restarts": process.restarts,
    }


def _rfc3339(unix_seconds: float | None) -> str | None:
    if not unix_seconds:
        return None
    time = datetime.fromtimestamp(float(unix_seconds), UTC)
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
