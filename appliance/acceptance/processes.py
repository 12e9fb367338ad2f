"""List the processes of the running appliance, from supervisord and /proc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from appliance.supervision.supervisor_client import Program, SupervisorClient

SUPERVISOR_SECONDS = 5.0  # timeout for a reply of supervisord


def programs(run: Path) -> dict[str, Program]:
    """Return the programs by name. Raises ConnectionError if supervisord does not respond."""
    client = SupervisorClient(run, SUPERVISOR_SECONDS)
    return {program.name: program for program in client.programs()}


def process_ids(run: Path) -> list[int]:
    """Return the process ids of boot and all its descendants. Raises ConnectionError."""
    for pid in [program.pid for program in programs(run).values() if program.pid]:
        try:
            supervisor = psutil.Process(pid).parent()
            boot = supervisor.parent() if supervisor else None
            if boot is None:
                continue
            return [boot.pid, *(child.pid for child in boot.children(recursive=True))]
        except psutil.NoSuchProcess:
            continue  # the program has just exited; the others have the same ancestors
    raise ConnectionError("supervisord has no running process")


def socket_inodes(pids: list[int]) -> set[int]:
    """Return the inodes of the processes' sockets, as /proc/net lists them. Raises OSError."""
    prefix = "socket:["
    links = (link for pid in pids for link in _open_files(pid))
    return {int(link[len(prefix) : -1]) for link in links if link.startswith(prefix)}


def _open_files(pid: int) -> Iterator[str]:
    """Yield the link target of each open file. Skips files and processes that disappear."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return
    for descriptor in descriptors:
        try:
            yield str(descriptor.readlink())
        except (FileNotFoundError, ProcessLookupError):
            continue
