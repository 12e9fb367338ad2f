"""`drain`: keeps new callers out, and waits until those who talk have hung up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import run_folder
from appliance.console.state import figures
from appliance.errors import EngineGone
from appliance.link.health import ask_health
from appliance.processes import GATEWAY, socket_path

EMPTY, CALLS_LEFT, NOT_RUNNING = 0, 75, 3  # 75 is EX_TEMPFAIL of sysexits.h
LOOK_SECONDS = 0.5
ANSWER_SECONDS = 2.0
TOLD_EVERY_SECONDS = 10.0
SURE_LOOKS = 2  # a caller let in just before the mark stood is counted a moment later


@dataclass(slots=True)
class Waiting:
    """Decides how long to wait and when to say something. Times are of one monotonic clock."""

    deadline: float
    empty_looks: int = 0
    told: tuple[int | None, float] = (None, -TOLD_EVERY_SECONDS)

    def look(self, left: int | None, now: float) -> int | None:
        """The exit code once it is decided. `left`: calls going on, None when nobody could say."""
        self.empty_looks = self.empty_looks + 1 if left == 0 else 0
        if self.empty_looks >= SURE_LOOKS:
            return EMPTY
        return CALLS_LEFT if now >= self.deadline else None

    def news(self, left: int | None, now: float) -> str:
        """What to print at this look: a change, or a word now and then; mostly nothing."""
        before, at = self.told
        if left == before and now - at < TOLD_EVERY_SECONDS:
            return ""
        self.told = (left, now)
        if left is None:
            return "the gateway does not answer"
        return f"{left} {'call' if left == 1 else 'calls'} left"


def drain(run: Path, wait_seconds: float | None, tell: Callable[[str], None]) -> int:
    """Keeps new callers out; with `wait_seconds` returns when none is left or the time is over."""
    if run_folder.boot_pid(run) is None:
        tell("nothing runs here")
        return NOT_RUNNING
    run_folder.begin_drain(run)
    tell("new calls are refused; those going on go on")
    if wait_seconds is None:
        return EMPTY
    waiting = Waiting(time.monotonic() + wait_seconds)
    while True:
        left, now = calls_left(run), time.monotonic()
        if news := waiting.news(left, now):
            tell(news)
        code = waiting.look(left, now)
        if code is not None:
            tell("no call is left" if code == EMPTY else "the time is over; calls are left")
            return code
        time.sleep(LOOK_SECONDS)


def undo(run: Path, tell: Callable[[str], None]) -> int:
    """Lets callers in again."""
    if run_folder.boot_pid(run) is None:
        tell("nothing runs here")
        return NOT_RUNNING
    run_folder.end_drain(run)
    tell("calls are taken again")
    return EMPTY


def calls_left(run: Path) -> int | None:
    """The calls going on, as the gateway itself says; None when it does not answer."""
    try:
        report = asyncio.run(ask_health(socket_path(run, GATEWAY), ANSWER_SECONDS))
    except EngineGone:
        return None
    return figures(report.metrics.decode()).calls_now
