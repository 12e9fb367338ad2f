"""Ending a process, with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

from appliance.supervision.ending import end, sweep
from tests.supervision.dummies import SLEEPER, STUBBORN, until

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""


def started(source: str) -> tuple[subprocess.Popen[str], str]:
    """A process in a group of its own, as supervisord starts them, and its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


async def test_a_process_that_hears_is_ended_by_asking() -> None:
    process, _ = started(SLEEPER)
    await end(psutil.Process(process.pid), 30.0)
    assert process.wait() == -signal.SIGTERM


async def test_one_that_does_not_hear_is_killed_when_patience_ends() -> None:
    process, _ = started(STUBBORN)
    await end(psutil.Process(process.pid), 0.5)
    assert process.wait() == -signal.SIGKILL


async def test_a_halted_process_is_killed_at_once_with_its_children() -> None:
    process, child = started(PARENT)
    os.kill(process.pid, signal.SIGSTOP)
    await end(psutil.Process(process.pid), 0.0)
    assert process.wait() == -signal.SIGKILL
    until(lambda: gone(int(child)))


async def test_one_that_has_gone_already_is_no_trouble() -> None:
    process, _ = started("print()")
    seen = psutil.Process(process.pid)
    process.wait()
    await end(seen, 1.0)


def test_what_a_dead_process_left_in_its_group_is_swept_away() -> None:
    process, child = started(PARENT)
    process.kill()
    process.wait()
    sweep(process.pid)
    until(lambda: gone(int(child)))
    sweep(process.pid)  # nothing is left
    sweep(0)  # nobody, and not this test


def gone(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
