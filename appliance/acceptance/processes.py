"""The appliance's processes, found from supervisord's socket: boot, supervisord, its programs and
what they started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from appliance.supervision.supervisor_client import Program, SupervisorClient

ANSWER_SECONDS = 5.0


def programs(run: Path) -> dict[str, Program]:
    """Each program by name. Raises ConnectionError when supervisord does not answer."""
    found = SupervisorClient(run, ANSWER_SECONDS).programs()
    return {program.name: program for program in found}


def family(run: Path) -> list[int]:
    """The process ids of all of them, boot first. Raises ConnectionError."""
    pids = [program.pid for program in programs(run).values() if program.pid]
    for pid in pids:
        try:
            supervisor = psutil.Process(pid).parent()
            boot = supervisor.parent() if supervisor else None
            if boot is None:
                continue
            return [boot.pid, *(child.pid for child in boot.children(recursive=True))]
        except psutil.NoSuchProcess:
            continue  # It has just ended: the next one has the same parents.
    raise ConnectionError("supervisord has no process")


def sockets(pids: list[int]) -> set[int]:
    """The inodes of the sockets that these processes hold, as /proc/net lists them."""
    return {int(link[8:-1]) for pid in pids for link in _links(pid) if link.startswith("socket:[")}


def _links(pid: int) -> Iterator[str]:
    """What each open file of a process is; they come and go, and so do processes."""
    try:
        opened = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return
    for number in opened:
        try:
            yield str(number.readlink())
        except (FileNotFoundError, ProcessLookupError):
            continue
