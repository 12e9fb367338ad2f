"""Asks everybody who may know how the appliance is, all at once and each with a time limit."""

from __future__ import annotations

import http.client
import math
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from appliance import run_folder
from appliance.settings import VERSION, ExporterConfig, Settings
from appliance.supervision import health
from appliance.supervision.metrics import ProcessStats, measure_processes
from appliance.supervision.supervisor_client import Program, SupervisorClient
from appliance.weights import seal

Name = Literal["running", "starting", "draining", "degraded", "broken", "stopped", "unknown"]
TAKES_CALLS, TAKES_NONE, CANNOT_TELL = 0, 3, 4  # exit codes, after LSB
SUPERVISOR_START_SECONDS = 15.0  # until supervisord has to answer


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
    vitals: Mapping[str, ProcessStats] = field(default_factory=dict)
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
    if facts.now - max(facts.boot_started, facts.seal_at) < SUPERVISOR_START_SECONDS:
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
    return bool(program.pid) and facts.vitals.get(program.name, ProcessStats()).up


HEADLINE = "voice_turn_response_latency_seconds"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as the exporter sees it; what it did not tell is None."""

    gpu: str
    name: str = ""
    driver: str = ""
    temperature_celsius: float | None = None
    power_watts: float | None = None
    utilization_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    last_xid: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Calls and turns are those of this gateway process.

    ready_changed    Unix time since which calls are taken, or not; 0 until they first are
    p50, p95         seconds from the end of the user's speech to the answer; None before a turn
    ready            by process: whether it says that it can do its work
    gpu_up           None when the page says nothing of cards
    """

    ready_changed: float = 0.0
    calls_now: int = 0
    calls_ended: int = 0
    calls_refused: int = 0
    turns: int = 0
    turns_failed: int = 0
    p50: float | None = None
    p95: float | None = None
    ready: Mapping[str, bool] = field(default_factory=dict)
    gpu_up: bool | None = None
    cards: tuple[Card, ...] = ()


def figures(page: str) -> Figures:
    """Reads a page in Prometheus text format. Raises ValueError for what is none."""
    samples: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)

    def total(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in samples.get(name, [])
            if labels.items() <= sample.labels.items()
        )

    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in samples.get(f"{HEADLINE}_bucket", [])
    ]
    return Figures(
        ready_changed=total("voice_ready_changed_timestamp_seconds"),
        calls_now=int(total("voice_sessions_active")),
        calls_ended=int(total("voice_sessions_total")),
        calls_refused=int(total("voice_sessions_rejected_total")),
        turns=int(total("voice_turns_total")),
        turns_failed=int(total("voice_turns_total", outcome="failed")),
        p50=quantile(0.5, buckets),
        p95=quantile(0.95, buckets),
        ready={
            sample.labels["process"]: bool(sample.value)
            for sample in samples.get("voice_process_ready", [])
        },
        gpu_up=bool(total("voice_gpu_up")) if "voice_gpu_up" in samples else None,
        cards=tuple(_cards(samples)),
    )


def quantile(part: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """histogram_quantile of Prometheus: linear within the bucket, its lower end for the last one.

    buckets: (upper end, cumulative count), with infinity; None when they are empty.
    """
    ordered = sorted(buckets)
    if not ordered or not ordered[-1][1]:
        return None
    rank = part * ordered[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in ordered:
        if count >= rank and count > below:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    return lower


def _cards(samples: Mapping[str, Sequence[Sample]]) -> Iterable[Card]:
    def of(name: str, gpu: str) -> float | None:
        told = [sample.value for sample in samples.get(name, []) if sample.labels["gpu"] == gpu]
        return told[0] if told else None

    for info in samples.get("voice_gpu_info", []):
        gpu = info.labels["gpu"]
        yield Card(
            gpu=gpu,
            name=info.labels.get("name", ""),
            driver=info.labels.get("driver", ""),
            temperature_celsius=of("voice_gpu_temperature_celsius", gpu),
            power_watts=of("voice_gpu_power_watts", gpu),
            utilization_ratio=of("voice_gpu_utilization_ratio", gpu),
            memory_used_bytes=of("voice_gpu_memory_used_bytes", gpu),
            memory_total_bytes=of("voice_gpu_memory_total_bytes", gpu),
            last_xid=of("voice_gpu_last_xid", gpu),
        )


LIMIT_SECONDS = 6.0  # for all answers together
SUPERVISOR_SECONDS = 2.0
PAGE_SECONDS = 5.0  # the exporter itself waits 2 s for a process that hangs
LOCK_DIGITS = 12
# What a source may raise when it is not there, hangs, or says nonsense.
TROUBLE = (OSError, ValueError, http.client.HTTPException)


def gathered(given: Settings) -> Facts:
    """What can be found out within LIMIT_SECONDS; raises nothing about what cannot."""
    run = given.paths.run
    client = SupervisorClient(run, SUPERVISOR_SECONDS)
    answers = together(
        {
            "supervisord": client.programs,
            "gateway": lambda: health.waiting_for(given.gateway),
            "exporter": lambda: figures(page(given.exporter)),
            "boot": lambda: run_folder.boot_pid(run),
            "drain": lambda: run_folder.draining_since(run),
            "restarts": lambda: run_folder.read_restarts(run),
            "seal": lambda: run_folder.read_seal(run),
            "guard": lambda: run_folder.read_guard(run),
            "reason": lambda: run_folder.read_reason(run),
            "lock": lambda: seal.sha256_of(given.paths.lock)[:LOCK_DIGITS],
        },
        LIMIT_SECONDS,
    )
    programs = cast("list[Program] | None", answers.get("supervisord"))
    boot = cast("int | None", answers.get("boot"))
    waiting = cast("str | None", answers.get("gateway"))
    return Facts(
        now=time.time(),
        version=VERSION,
        profile=given.profile,
        lock=str(answers.get("lock", "")),
        max_sessions=given.gateway.max_sessions,
        boot_pid=boot,
        boot_started=_written(run / "boot.lock"),
        draining_since=cast("float | None", answers.get("drain")),
        waiting_for=waiting,
        programs=programs,
        vitals=_vitals(programs),
        restarts=cast("dict[str, int]", answers.get("restarts", {})),
        figures=cast("Figures | None", answers.get("exporter")),
        seal=cast("dict[str, Any]", answers.get("seal", {})),
        seal_at=_written(run / "seal.json"),
        guard=cast("dict[str, Any]", answers.get("guard", {})),
        reason=cast("dict[str, Any]", answers.get("reason", {})),
        reason_at=_written(run / "reason.json"),
        silent=[name for name in ("supervisord", "gateway", "exporter") if name not in answers],
    )


def page(exporter: ExporterConfig) -> str:
    """The page of metrics. Raises OSError, HTTPException and ValueError."""
    address = f"http://{health.url_host(exporter.host)}:{exporter.port}/metrics"
    with urllib.request.urlopen(address, timeout=PAGE_SECONDS) as answer:
        return str(answer.read().decode())


def together(asked: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, object]:
    """The answers that came in time, by name; who raised one of TROUBLE has given none.

    The threads of those who hang are left behind: they end with the process.
    """
    answers: dict[str, object] = {}

    def ask(name: str, question: Callable[[], object]) -> None:
        try:
            answers[name] = question()
        except TROUBLE:
            return  # No answer; the caller sees that it is missing.

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in asked.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(answers)


def _vitals(programs: list[Program] | None) -> dict[str, ProcessStats]:
    return measure_processes(programs) if programs else {}


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
