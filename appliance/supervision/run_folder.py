"""The small files the processes leave for each other in the run folder (tmpfs).

boot.lock              held by the one boot that runs here, whose pid is in it
draining               stands while an operator keeps new callers out (appliance/draining.py)
seal.json              when the weights were last found intact, and how; outlives a restart
restarts.json          restarts of each program so far; the exporter reads it
PROGRAM.failed.json    why a program refused to start; boot reads it
reason.json            why the appliance ended, for the host
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import psutil

from appliance import draining
from appliance.errors import AlreadyRunning, ApplianceError, BadSetting, catalogue

MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), without its final zero
CLOCK_STEP_SECONDS = 2.0  # the kernel counts starts in ticks from a rounded start of its own
LONGEST_NAME = "supervisor.sock.4194304"  # supervisord binds NAME.PID before it renames


def claim(run: Path) -> TextIO:
    """Makes the folder, clears what an earlier run left and holds the lock while the file is open.

    Raises AlreadyRunning, or BadSetting when the path is unusable.
    """
    if len(str(run / LONGEST_NAME).encode()) > MAX_SOCKET_PATH_BYTES:
        raise BadSetting(name="paths.run", why=f"{run} is too long for a unix socket")
    try:
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (run / "boot.lock").open("a")  # "w" would empty another boot's
    except OSError as problem:
        raise BadSetting(name="paths.run", why=str(problem)) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        lock.close()
        raise AlreadyRunning(path=run) from taken
    for old in [*run.glob("*.failed.json"), run / "reason.json", run / "restarts.json"]:
        old.unlink(missing_ok=True)
    draining.end(run)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def boot_pid(run: Path) -> int | None:
    """The pid of the boot that runs here, as /proc shows it; None when none does."""
    lock = run / "boot.lock"
    try:
        pid, claimed = int(lock.read_text(encoding="ascii")), lock.stat().st_mtime
        process = psutil.Process(pid)
        # A process that is younger than the claim has only inherited the number.
        younger = process.create_time() > claimed + CLOCK_STEP_SECONDS
        gone = process.status() == psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return None if younger or gone else pid


def write_failure(run: Path, program: str, error: ApplianceError) -> None:
    """Leaves word of why a program refuses to start; without a run folder nobody is listening."""
    if run.is_dir():
        _write(run / f"{program}.failed.json", {"reason": error.reason, "details": error.details})


def read_failure(run: Path, program: str) -> ApplianceError | None:
    """The error with which a program refused to start, if it did."""
    left = _read(run / f"{program}.failed.json")
    kind = catalogue().get(str(left.get("reason")))
    details = left.get("details")
    return kind(**details) if kind and isinstance(details, dict) else None


def write_reason(run: Path, error: ApplianceError) -> None:
    """Leaves word of why the appliance ended."""
    _write(
        run / "reason.json",
        {
            "reason": error.reason,
            "what": str(error),
            "advice": error.advice,
            "exit_code": error.exit_code,
        },
    )


def write_restarts(run: Path, restarts: dict[str, int]) -> None:
    """Publishes the restarts of each program."""
    _write(run / "restarts.json", restarts)


def read_restarts(run: Path) -> dict[str, int]:
    """The restarts of each program; empty when no boot runs here."""
    return {name: int(str(count)) for name, count in _read(run / "restarts.json").items()}


def write_seal(run: Path, left: Mapping[str, object]) -> None:
    """Leaves word of what the look at the seal found."""
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(run / "seal.json", left)


def read_seal(run: Path) -> dict[str, Any]:
    """What the last look at the seal found; empty when there was none."""
    return _read(run / "seal.json")


def read_left(run: Path, name: str) -> dict[str, Any]:
    """What was left under this name, such as reason.json; empty when nothing was."""
    return _read(run / name)


def _write(path: Path, content: object) -> None:
    """In one step, so that a reader never sees half a file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, default=str), encoding="utf-8")
    partial.replace(path)


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content if isinstance(content, dict) else {}
