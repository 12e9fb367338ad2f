"""Ends a process with all its children, one way or the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import psutil

from appliance import journal

LOOK_SECONDS = 0.1
log = journal.get()


async def end(process: psutil.Process, patience_seconds: float) -> None:
    """Asks a process to end, and kills it with its children when it has not after `patience`.

    With no patience it is killed at once: a process that was halted, or hangs, hears no SIGTERM.
    """
    family = [process]
    with contextlib.suppress(psutil.NoSuchProcess):  # it went by itself, which is what we want
        family += process.children(recursive=True)
        if patience_seconds:
            process.terminate()
    waited = 0.0
    while waited < patience_seconds and _lives(process):
        await asyncio.sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
    for each in filter(_lives, family):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
            log.warning("process killed", pid=each.pid)


def sweep(pid: int) -> None:
    """Kills what a process that has ended left in its group; supervisord gives each its own.

    A child that lives on would hold the card's memory, and the next process would find none.
    """
    if pid <= 1:
        return  # 0 would be our own group
    with contextlib.suppress(ProcessLookupError):  # nothing was left, as it should be
        os.killpg(pid, signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    """A zombie does not: supervisord has yet to take note of its end."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
