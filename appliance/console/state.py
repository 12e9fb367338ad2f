"""The observed facts about the appliance, and the state that follows from them. No I/O.

`collect.py` makes the observations; `status.py` renders them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from appliance.processes import GATEWAY

StateName = Literal[
    "running", "starting", "draining", "closed", "degraded", "broken", "stopped", "unknown"
]
TAKES_CALLS, TAKES_NONE, CANNOT_TELL = 0, 3, 4  # exit codes, as LSB defines them for `status`
SUPERVISOR_START_SECONDS = 15.0  # an unresponsive supervisord counts as starting for this long
RESPONSE_LATENCY = "voice_turn_response_latency_seconds"


@dataclass(frozen=True, slots=True)
class GpuSummary:
    """A GPU as the exporter reports it. Values that the driver does not report are None."""

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
class MetricsSummary:
    """The metrics that a status needs. Calls and turns are counted by the current gateway process.

    ready_changed    Unix time when readiness last changed; 0 until the appliance is first ready
    p50, p95         seconds from the end of the user's speech to the answer; None before the first
                     answer
    ready            readiness that each process reports
    tls_expiry      Unix time at which the certificate expires; 0 if calls are not encrypted
    tls_key_exposed  whether all users of the host can read the key of the certificate
    weak_tokens      what is weak about the access tokens: values of the label `weakness`
    gaps             what the gateway is not confined in: values of the label `gap`
    gpu_up           None if the page has no GPU metrics
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
    tls_expiry: float = 0.0
    tls_key_exposed: bool = False
    weak_tokens: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    gpu_up: bool | None = None
    gpus: tuple[GpuSummary, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A process as supervisord and the kernel report it.

    state       supervisord's state of the process: STARTING, RUNNING, BACKOFF, FATAL, EXITED,
                STOPPING or STOPPED
    pid         0 if the process is not running
    started     Unix time of the last start
    exists      whether a process with this pid exists and is not a zombie
    restarts    number of restarts since boot started
    """

    name: str
    state: str
    pid: int = 0
    started: float = 0.0
    exists: bool = False
    resident_bytes: int = 0
    cpu_seconds: float = 0.0
    restarts: int = 0

    @property
    def up(self) -> bool:
        """Whether the process exists and supervisord intends it to run."""
        return self.pid > 0 and self.exists and self.state in ("STARTING", "RUNNING")


@dataclass(frozen=True, slots=True)
class Facts:
    """All observations; None or empty if a source did not respond. Times are Unix times.

    lock            first digits of the SHA-256 of image-manifest.lock
    boot_started    time when boot claimed the run folder
    waiting_for     component that /readyz reports as not ready; empty if calls are accepted
    seal_written    time when seal.json was last written
    processes       the programs of supervisord; None if supervisord does not respond
    tls             what the settings say: on, off (only this host can connect), plain (calls cross
                    a network unencrypted), or empty if it is not known
    silent          sources that did not respond
    """

    now: float
    version: str
    profile: str
    lock: str = ""
    max_sessions: int = 0
    boot_pid: int | None = None
    boot_started: float = 0.0
    draining_since: float | None = None
    closed_since: float | None = None
    waiting_for: str | None = None
    processes: Sequence[ProcessFacts] | None = None
    metrics: MetricsSummary | None = None
    seal: Mapping[str, Any] = field(default_factory=dict)
    seal_written: float = 0.0
    guard: Mapping[str, Any] = field(default_factory=dict)
    reason: Mapping[str, Any] = field(default_factory=dict)
    reason_written: float = 0.0
    tls: str = ""
    silent: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class State:
    """The state of the appliance, and what to tell an operator about it.

    The names are:

    running     calls are accepted and every process is up
    starting    not ready yet since boot started
    draining    new calls are refused on request
    closed      ready, but only the acceptance test may call
    degraded    a process is down or not ready again; calls may still be accepted
    broken      the appliance exited with an error
    stopped     no boot process is running
    unknown     the observations contradict each other

    why     the component that is awaited or the problem; empty if there is none
    since   Unix time when the state began; None if unknown
    """

    name: StateName
    why: str = ""
    since: float | None = None
    exit_code: int = TAKES_NONE


def judge(facts: Facts) -> State:
    """Decide the state that follows from the facts."""
    if facts.boot_pid is None:
        return _judge_without_boot(facts)
    if facts.processes is None:
        return _judge_without_supervisord(facts)
    if facts.draining_since is not None or facts.waiting_for == "draining":
        return _judge_draining(facts)
    if facts.closed_since is not None and facts.waiting_for == "":
        return State("closed", "only the acceptance test may call", facts.closed_since)
    if facts.waiting_for == "":
        down = [process.name for process in facts.processes if not process.exists]
        if down:
            verb = "are" if down[1:] else "is"
            why = f"calls are accepted, but {' and '.join(down)} {verb} down"
            return State("degraded", why, _ready_changed(facts), TAKES_CALLS)
        return State("running", "ready for calls", _ready_changed(facts), TAKES_CALLS)
    waiting = f"waiting for {facts.waiting_for or GATEWAY}"
    if _is_first_start(facts):
        return State("starting", waiting, facts.boot_started)
    return State("degraded", waiting, _ready_changed(facts))


def _judge_without_boot(facts: Facts) -> State:
    if facts.processes is not None:
        why = "boot is not running, but supervisord still responds"
        return State("unknown", why, exit_code=CANNOT_TELL)
    if facts.reason:
        return State("broken", str(facts.reason.get("what", "")), facts.reason_written)
    return State("stopped")


def _judge_without_supervisord(facts: Facts) -> State:
    if facts.seal_written < facts.boot_started:
        return State("starting", "verifying the sealed model files", facts.boot_started)
    if facts.waiting_for == "":
        return State("degraded", "supervisord does not answer", exit_code=TAKES_CALLS)
    if facts.now - max(facts.boot_started, facts.seal_written) < SUPERVISOR_START_SECONDS:
        return State("starting", "waiting for supervisord", facts.boot_started)
    return State("unknown", "supervisord does not answer", exit_code=CANNOT_TELL)


def _judge_draining(facts: Facts) -> State:
    why = "new calls are refused"
    if facts.metrics is not None:
        calls = facts.metrics.calls_now
        why += f"; {calls or 'no'} {'call' if calls == 1 else 'calls'} in progress"
    if facts.waiting_for not in ("", "draining", None):
        why += f"; waiting for {facts.waiting_for}"
    return State("draining", why, facts.draining_since)


def _is_first_start(facts: Facts) -> bool:
    """Whether the appliance has not been ready since boot started, and no process was restarted."""
    processes = facts.processes or ()
    if any(process.restarts for process in processes):
        return False
    if facts.metrics is not None and facts.metrics.ready_changed:
        return False
    # A running gateway that does not respond is frozen, and may have been ready before.
    unresponsive = facts.metrics is None or facts.waiting_for in (None, GATEWAY)
    up = any(process.name == GATEWAY and process.state == "RUNNING" for process in processes)
    return not (unresponsive and up)


def _ready_changed(facts: Facts) -> float | None:
    return (facts.metrics.ready_changed or None) if facts.metrics is not None else None


def parse_metrics(page: str) -> MetricsSummary:
    """Summarise a page in Prometheus text format. Raises ValueError for any other text."""
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
        for sample in samples.get(f"{RESPONSE_LATENCY}_bucket", [])
    ]
    return MetricsSummary(
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
        weak_tokens=tuple(
            sample.labels["weakness"]
            for sample in samples.get("voice_token_weak", [])
            if sample.value
        ),
        gaps=tuple(
            sample.labels["gap"]
            for sample in samples.get("voice_confinement_gap", [])
            if sample.value
        ),
        tls_expiry=total("voice_tls_certificate_expiry_timestamp_seconds"),
        tls_key_exposed=bool(total("voice_tls_key_exposed")),
        gpu_up=bool(total("voice_gpu_up")) if "voice_gpu_up" in samples else None,
        gpus=tuple(_parse_gpus(samples)),
    )


def _parse_gpus(samples: Mapping[str, Sequence[Sample]]) -> Iterable[GpuSummary]:
    def value(name: str, gpu: str) -> float | None:
        values = (sample.value for sample in samples.get(name, []) if sample.labels["gpu"] == gpu)
        return next(values, None)

    for info in samples.get("voice_gpu_info", []):
        gpu = info.labels["gpu"]
        yield GpuSummary(
            gpu=gpu,
            name=info.labels.get("name", ""),
            driver=info.labels.get("driver", ""),
            temperature_celsius=value("voice_gpu_temperature_celsius", gpu),
            power_watts=value("voice_gpu_power_watts", gpu),
            utilization_ratio=value("voice_gpu_utilization_ratio", gpu),
            memory_used_bytes=value("voice_gpu_memory_used_bytes", gpu),
            memory_total_bytes=value("voice_gpu_memory_total_bytes", gpu),
            last_xid=value("voice_gpu_last_xid", gpu),
        )


def quantile(rank: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Estimate a quantile (rank 0..1) as Prometheus' histogram_quantile does.

    It interpolates linearly within the bucket; for the last one it returns the lower bound.
    `buckets` are pairs of upper bound, infinity included, and cumulative count. Returns None for
    an empty histogram.
    """
    ordered = sorted(buckets)
    if not ordered or not ordered[-1][1]:
        return None
    target = rank * ordered[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in ordered:
        if count >= target and count > below:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (target - below) / (count - below)
        lower, below = upper, count
    return lower
