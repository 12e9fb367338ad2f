"""Terminating a process and all processes that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

from appliance.supervision.terminate import kill_group, terminate
from tests.supervision.dummies import SLEEPER, STUBBORN, wait_until

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""


def start(source: str) -> tuple[subprocess.Popen[str], str]:
    """Start a process in its own group, as supervisord does.

    Returns the process and its first line of output.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def has_exited(pid: int) -> bool:
    """Return whether the process has exited, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_process_that_handles_sigterm_is_not_killed() -> None:
    process, _ = start(SLEEPER)
    await terminate(psutil.Process(process.pid), 30.0)
    assert process.wait() == -signal.SIGTERM


async def test_process_that_ignores_sigterm_is_killed_after_the_grace_period() -> None:
    process, _ = start(STUBBORN)
    await terminate(psutil.Process(process.pid), 0.5)
    assert process.wait() == -signal.SIGKILL


async def test_stopped_process_is_killed_at_once_with_its_children() -> None:
    process, child = start(PARENT)
    os.kill(process.pid, signal.SIGSTOP)
    await terminate(psutil.Process(process.pid), 0.0)
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: has_exited(int(child)))


async def test_process_that_has_already_exited_is_not_an_error() -> None:
    process, _ = start("print()")
    handle = psutil.Process(process.pid)
    process.wait()
    await terminate(handle, 1.0)


def test_children_left_by_a_dead_process_are_killed_with_its_group() -> None:
    process, child = start(PARENT)
    process.kill()
    process.wait()
    kill_group(process.pid)
    wait_until(lambda: has_exited(int(child)))
    kill_group(process.pid)  # nothing is left
    kill_group(0)  # no process, and in particular not this test
