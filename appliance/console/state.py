"""Asks everybody who may know how the appliance is, all at once and each with a time limit."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from appliance import draining, run_folder
from appliance.console.figures import Figures, figures
from appliance.console.state_judged import Facts
from appliance.settings import VERSION, Exporter, Settings
from appliance.supervision import health
from appliance.supervision.metrics import Vitals, vitals
from appliance.supervision.supervisor_client import Program, SupervisorClient
from appliance.weights import seal

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
            "drain": lambda: draining.since(run),
            "restarts": lambda: run_folder.read_restarts(run),
            "seal": lambda: run_folder.read_seal(run),
            "guard": lambda: run_folder.read_left(run, "guard.json"),
            "reason": lambda: run_folder.read_left(run, "reason.json"),
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


def page(exporter: Exporter) -> str:
    """The page of metrics. Raises OSError, HTTPException and ValueError."""
    host = health.HERE.get(exporter.host, exporter.host)
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{exporter.port}/metrics"
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


def _vitals(programs: list[Program] | None) -> dict[str, Vitals]:
    return vitals(programs) if programs else {}


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
