"""Drain the appliance: refuse new calls, and wait until those in progress have ended.

Also closes it to all but the acceptance test, and opens it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import run_folder
from appliance.console.state import parse_metrics
from appliance.errors import EngineGone
from appliance.link.health import ask_health
from appliance.processes import GATEWAY, socket_path

DRAINED, CALLS_LEFT, NOT_RUNNING = 0, 75, 3  # exit codes; 75 is EX_TEMPFAIL of sysexits.h
POLL_SECONDS = 0.5
POLL_TIMEOUT_SECONDS = 2.0  # for the gateway's response to one poll
REPORT_SECONDS = 10.0  # an unchanged number of calls is reported this often
# Polls without calls before the drain is complete. A call that was admitted just before the drain
# started may not be counted in the first of them.
EMPTY_POLLS = 2


@dataclass(slots=True)
class DrainWait:
    """Decides when to stop waiting and what to report. Times are from one monotonic clock."""

    deadline: float
    empty_polls: int = 0
    reported: tuple[int | None, float] = (None, -REPORT_SECONDS)  # calls, time

    def poll(self, calls: int | None, now: float) -> int | None:
        """Return the exit code, or None to keep waiting.

        calls   calls in progress; None if the gateway does not respond
        """
        self.empty_polls = self.empty_polls + 1 if calls == 0 else 0
        if self.empty_polls >= EMPTY_POLLS:
            return DRAINED
        return CALLS_LEFT if now >= self.deadline else None

    def progress(self, calls: int | None, now: float) -> str:
        """Return a line to print when the number changes and every REPORT_SECONDS, else empty."""
        before, time_before = self.reported
        if calls == before and now - time_before < REPORT_SECONDS:
            return ""
        self.reported = (calls, now)
        if calls is None:
            return "the gateway does not answer"
        return f"{calls} {'call' if calls == 1 else 'calls'} in progress"


def drain(run: Path, wait_seconds: float | None, report: Callable[[str], None]) -> int:
    """Refuse new calls, and return the exit code.

    With `wait_seconds`, wait at most this long until the calls in progress have ended.
    """
    if run_folder.boot_pid(run) is None:
        report("the appliance is not running")
        return NOT_RUNNING
    run_folder.begin_drain(run)
    report("new calls are refused; calls in progress continue")
    if wait_seconds is None:
        return DRAINED
    wait = DrainWait(time.monotonic() + wait_seconds)
    while True:
        calls, now = count_calls(run), time.monotonic()
        if progress := wait.progress(calls, now):
            report(progress)
        code = wait.poll(calls, now)
        if code is not None:
            report(
                "all calls have ended"
                if code == DRAINED
                else "the wait timed out; calls are still in progress"
            )
            return code
        time.sleep(POLL_SECONDS)


def undo(run: Path, report: Callable[[str], None]) -> int:
    """Accept new calls again, and return the exit code."""
    if run_folder.boot_pid(run) is None:
        report("the appliance is not running")
        return NOT_RUNNING
    run_folder.end_drain(run)
    report("new calls are accepted again")
    return DRAINED


def close(run: Path, report: Callable[[str], None]) -> int:
    """Refuse new calls, except those of the acceptance test, and return the exit code."""
    if run_folder.boot_pid(run) is None:
        report("the appliance is not running")
        return NOT_RUNNING
    run_folder.close(run)
    report("closed: only the acceptance test may call; calls in progress continue")
    return DRAINED


def open_again(run: Path, report: Callable[[str], None]) -> int:
    """Let callers in: undo `close` and `drain`. Return the exit code."""
    if run_folder.boot_pid(run) is None:
        report("the appliance is not running")
        return NOT_RUNNING
    run_folder.end_drain(run)
    run_folder.open_again(run)
    report("open: new calls are accepted")
    return DRAINED


def count_calls(run: Path) -> int | None:
    """Query the gateway for the number of calls in progress; None if it does not respond."""
    try:
        health = asyncio.run(ask_health(socket_path(run, GATEWAY), POLL_TIMEOUT_SECONDS))
    except EngineGone:
        return None
    return parse_metrics(health.metrics.decode()).calls_now
