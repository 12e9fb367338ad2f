"""Terminates a process and all its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import psutil

from appliance import journal

POLL_SECONDS = 0.1
log = journal.get()


async def terminate(process: psutil.Process, grace_seconds: float) -> None:
    """Send SIGTERM. After the grace period, kill the process and its children if still alive.

    Without a grace period they are killed at once, because a stopped process ignores SIGTERM.
    """
    tree = [process]
    with contextlib.suppress(psutil.NoSuchProcess):  # it has already exited
        tree += process.children(recursive=True)
        if grace_seconds:
            process.terminate()
    waited = 0.0
    while waited < grace_seconds and _is_alive(process):
        await asyncio.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
    for member in filter(_is_alive, tree):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
            log.warning("process killed", pid=member.pid)


def kill_group(pid: int) -> None:
    """Kill the children that an exited process left behind in its process group.

    supervisord gives each program a group of its own. A surviving child would hold GPU memory that
    the restarted program needs.
    """
    if pid <= 1:
        return  # 0 would be our own group
    with contextlib.suppress(ProcessLookupError):  # nothing was left, the usual case
        os.killpg(pid, signal.SIGKILL)


def _is_alive(process: psutil.Process) -> bool:
    """Whether the process runs. A zombie does not: it only waits for supervisord to reap it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
