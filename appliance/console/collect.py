"""Collect the facts about the appliance: query every source in parallel, with time limits."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from appliance import local_http, run_folder
from appliance.console.state import Facts, MetricsSummary, ProcessFacts, parse_metrics
from appliance.settings import VERSION, ExporterConfig, GatewayConfig, Settings
from appliance.supervision import health
from appliance.supervision.metrics import measure_processes
from appliance.supervision.supervisor_client import Program, SupervisorClient
from appliance.tls.policy import is_loopback
from appliance.weights import seal

LIMIT_SECONDS = 6.0  # timeout for all queries together
SUPERVISOR_SECONDS = 2.0
METRICS_SECONDS = 5.0  # the exporter itself waits 2 s for a process that hangs
LOCK_DIGITS = 12
# Raised by sources that are absent, unresponsive or return invalid data.
QUERY_ERRORS = (OSError, ValueError, http.client.HTTPException)


def collect_facts(settings: Settings) -> Facts:
    """Collect the facts available within LIMIT_SECONDS. An absent source raises no exception."""
    run = settings.paths.run
    supervisor = SupervisorClient(run, SUPERVISOR_SECONDS)
    answers = query_all(
        {
            "supervisord": supervisor.programs,
            "gateway": lambda: health.waiting_for(settings.gateway),
            "exporter": lambda: parse_metrics(fetch_metrics(settings.exporter)),
            "boot": lambda: run_folder.boot_pid(run),
            "drain": lambda: run_folder.draining_since(run),
            "closed": lambda: run_folder.closed_since(run),
            "restarts": lambda: run_folder.read_restarts(run),
            "seal": lambda: run_folder.read_seal(run),
            "guard": lambda: run_folder.read_guard(run),
            "reason": lambda: run_folder.read_reason(run),
            "lock": lambda: seal.sha256_of(settings.paths.lock)[:LOCK_DIGITS],
        },
        LIMIT_SECONDS,
    )
    programs = cast("list[Program] | None", answers.get("supervisord"))
    restarts = cast("dict[str, int]", answers.get("restarts", {}))
    return Facts(
        now=time.time(),
        version=VERSION,
        profile=settings.profile,
        lock=str(answers.get("lock", "")),
        max_sessions=settings.gateway.max_sessions,
        boot_pid=cast("int | None", answers.get("boot")),
        boot_started=_modified(run / "boot.lock"),
        draining_since=cast("float | None", answers.get("drain")),
        closed_since=cast("float | None", answers.get("closed")),
        waiting_for=cast("str | None", answers.get("gateway")),
        processes=None if programs is None else _measure(programs, restarts),
        metrics=cast("MetricsSummary | None", answers.get("exporter")),
        seal=cast("dict[str, Any]", answers.get("seal", {})),
        seal_written=_modified(run / "seal.json"),
        guard=cast("dict[str, Any]", answers.get("guard", {})),
        reason=cast("dict[str, Any]", answers.get("reason", {})),
        reason_written=_modified(run / "reason.json"),
        tls=tls_state(settings.gateway),
        silent=[name for name in ("supervisord", "gateway", "exporter") if name not in answers],
    )


def tls_state(gateway: GatewayConfig) -> str:
    """Return `Facts.tls` for these settings."""
    if gateway.uses_tls:
        return "on"
    return "off" if is_loopback(gateway.host) else "plain"


def fetch_metrics(exporter: ExporterConfig) -> str:
    """Fetch the exporter's metrics page. Raises one of QUERY_ERRORS."""
    url = f"http://{health.url_host(exporter.host)}:{exporter.port}/metrics"
    status, body = local_http.get(url, METRICS_SECONDS)
    if status != HTTPStatus.OK:
        raise http.client.HTTPException(f"status {status}")
    return body.decode()


def query_all(queries: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, object]:
    """Run all queries in parallel and return the results that arrived in time, by name.

    A query that raises one of QUERY_ERRORS has no result. Each query runs in a daemon thread, so a
    query that hangs does not keep this process from exiting.
    """
    answers: dict[str, object] = {}

    def run(name: str, query: Callable[[], object]) -> None:
        try:
            answers[name] = query()
        except QUERY_ERRORS:
            return  # the caller sees that the result is missing

    threads = [threading.Thread(target=run, args=query, daemon=True) for query in queries.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _measure(programs: Sequence[Program], restarts: Mapping[str, int]) -> list[ProcessFacts]:
    stats = measure_processes(programs)
    return [
        ProcessFacts(
            name=program.name,
            state=program.state,
            pid=program.pid,
            started=program.started,
            exists=stats[program.name].up,
            resident_bytes=stats[program.name].resident_bytes,
            cpu_seconds=stats[program.name].cpu_seconds,
            restarts=restarts.get(program.name, 0),
        )
        for program in programs
    ]


def _modified(path: Path) -> float:
    """Return the Unix time of the file's last modification; 0 if the file does not exist."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
