"""The state files that the processes share in the run folder (tmpfs).

boot.lock              locked by the running boot; contains its pid
draining               exists while a drain is active
closed                 exists while the appliance is closed: only the acceptance test may call
seal.json              result of the last seal check; survives a restart
restarts.json          restarts of each program so far; read by the exporter
PROGRAM/               the folder of a program: a confined program can write only there
gateway/acceptance     what the acceptance test presents to call a closed appliance
PROGRAM/failed.json    why a program did not start or exited; read and deleted by the guard
guard/failed.json      why the appliance must exit; read by boot
guard.json             the guard's heartbeat and history (policy.GuardHistory); read by boot, the
                       exporter and `status`. Its counts survive a restart if the folder does
reason.json            why the appliance exited; read by the host
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from appliance.errors import AlreadyRunning, ApplianceError, BadSetting, catalogue

BOOT_LOCK = "boot.lock"
DRAINING, CLOSED = "draining", "closed"
ACCEPTANCE = "acceptance"
ACCEPTANCE_HEADER = (
    "Voice-Acceptance"  # in which the acceptance test sends the content of that file
)
SEAL, RESTARTS, GUARD, REASON = "seal.json", "restarts.json", "guard.json", "reason.json"
FAILED = "failed.json"

MAX_FILE_BYTES = 1 << 16  # of a state file that is read
MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), without its final zero
LONGEST_NAME = "supervisor.sock.4194304"  # supervisord binds NAME.PID before it renames


def claim(run: Path, *, closed: bool = False) -> TextIO:
    """Create the run folder, lock it, and delete the files of an earlier run.

    The lock is held while the returned file is open. The counts of the guard's history are kept.
    With `closed`, the appliance starts closed, otherwise open.
    Raises AlreadyRunning, or BadSetting if the path cannot be used.
    """
    if len(str(run / LONGEST_NAME).encode()) > MAX_SOCKET_PATH_BYTES:
        raise BadSetting(name="paths.run", why=f"{run} is too long for a unix socket")
    try:
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (run / BOOT_LOCK).open("a")  # "w" would truncate another boot's
    except OSError as problem:
        raise BadSetting(name="paths.run", why=str(problem)) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as locked:
        lock.close()
        raise AlreadyRunning(path=run) from locked
    actions = read_guard(run).get("actions")
    stale = [run / name for name in (REASON, RESTARTS, GUARD)]
    for path in [*run.glob(f"*/{FAILED}"), *stale]:
        path.unlink(missing_ok=True)
    if actions:  # keep the counters: the last action may not have been scraped before the exit
        write_guard(run, {"actions": actions})
    end_drain(run)
    if closed:
        close(run)
    else:
        open_again(run)
    lock.truncate(0)
    lock.write(_identity(os.getpid()))
    lock.flush()
    return lock


def boot_pid(run: Path) -> int | None:
    """Return the pid of the boot process of this folder, verified in /proc; None if not running."""
    try:
        content = (run / BOOT_LOCK).read_text(encoding="ascii")
        pid = int(content.split()[0])
        return pid if content == _identity(pid) else None
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return None


def _identity(pid: int) -> str:
    """Return the pid and the process's start time in clock ticks since the host's boot (proc(5)).

    Unlike a time of day, clock ticks do not depend on the host's clock. Raises FileNotFoundError or
    ProcessLookupError if the process has exited or is a zombie.
    """
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if status[0] == "Z":
        raise ProcessLookupError(pid)
    return f"{pid} {status[19]}"


def begin_drain(run: Path) -> None:
    """Refuse new calls. Raises FileNotFoundError if there is no run folder."""
    with (run / DRAINING).open("a"):  # a second drain keeps the start time of the first
        pass


def end_drain(run: Path) -> None:
    """Admit new calls again."""
    (run / DRAINING).unlink(missing_ok=True)


def draining_since(run: Path) -> float | None:
    """Return the Unix time at which the drain started; None if new calls are admitted."""
    try:
        return (run / DRAINING).stat().st_mtime
    except FileNotFoundError:
        return None


def close(run: Path) -> None:
    """Refuse callers, except the acceptance test. Raises FileNotFoundError without a run folder."""
    (run / CLOSED).touch()


def open_again(run: Path) -> None:
    """Admit callers again."""
    (run / CLOSED).unlink(missing_ok=True)


def closed_since(run: Path) -> float | None:
    """Return the Unix time at which the appliance was closed; None if it is open."""
    try:
        return (run / CLOSED).stat().st_mtime
    except FileNotFoundError:
        return None


def write_acceptance_pass(run: Path, program: str, secret: str) -> None:
    """Write what the acceptance test presents; only this user can read it."""
    path = of_program(run, program) / ACCEPTANCE
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(0o600)
    partial.write_text(secret, encoding="ascii")
    partial.replace(path)


def read_acceptance_pass(run: Path, program: str) -> str:
    """Return what the acceptance test presents to `program`; empty if there is nothing."""
    try:
        return _read_bytes(run / program / ACCEPTANCE).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def of_program(run: Path, program: str) -> Path:
    """Return the folder of a program, and create it if it is missing."""
    folder = run / program
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_failure(run: Path, program: str, error: ApplianceError) -> None:
    """Record why a program exits. Does nothing if there is no run folder."""
    if run.is_dir():
        record = {"reason": error.reason, "details": error.details}
        _write(of_program(run, program) / FAILED, record)


def read_failure(run: Path, program: str) -> ApplianceError | None:
    """Return the error that a program recorded, if any; None for one with other details."""
    record = read_record(run / program / FAILED)
    kind = catalogue().get(str(record.get("reason")))
    details = record.get("details")
    if kind is None or not isinstance(details, dict):
        return None
    try:
        return kind(**details)
    except (LookupError, TypeError, ValueError, AttributeError):  # they do not fit its message
        return None


def take_failure(run: Path, program: str) -> ApplianceError | None:
    """Return the error that a program recorded, if any, and delete the record.

    It is deleted because the program's next exit may have another cause.
    """
    error = read_failure(run, program)
    (run / program / FAILED).unlink(missing_ok=True)
    return error


def write_reason(run: Path, error: ApplianceError) -> None:
    """Record why the appliance exited."""
    _write(
        run / REASON,
        {
            "reason": error.reason,
            "what": str(error),
            "advice": error.advice,
            "exit_code": error.exit_code,
        },
    )


def write_restarts(run: Path, restarts: dict[str, int]) -> None:
    """Publish the restarts of each program."""
    _write(run / RESTARTS, restarts)


def read_restarts(run: Path) -> dict[str, int]:
    """Return the restarts of each program; empty if no boot has run in this folder."""
    return {name: int(str(count)) for name, count in read_record(run / RESTARTS).items()}


def write_guard(run: Path, status: Mapping[str, object]) -> None:
    """Publish the guard's status."""
    _write(run / GUARD, status)


def read_guard(run: Path) -> dict[str, Any]:
    """Return the guard's last status; empty if no guard has run in this folder."""
    return read_record(run / GUARD)


def write_seal(run: Path, result: Mapping[str, object]) -> None:
    """Record the result of a seal check."""
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(run / SEAL, result)


def read_seal(run: Path) -> dict[str, Any]:
    """Return the result of the last seal check; empty if there was none."""
    return read_record(run / SEAL)


def read_reason(run: Path) -> dict[str, Any]:
    """Return why the appliance exited; empty if no reason is recorded."""
    return read_record(run / REASON)


def _write(path: Path, content: object) -> None:
    """Write atomically: a reader never sees a partial file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, default=str), encoding="utf-8")
    partial.replace(path)


def read_record(path: Path) -> dict[str, Any]:
    """Return the JSON object in a state file; empty if there is none that can be read."""
    try:
        content = json.loads(_read_bytes(path))
    except (OSError, ValueError, RecursionError):  # a power failure may leave an empty file
        return {}
    return content if isinstance(content, dict) else {}


def _read_bytes(path: Path) -> bytes:
    """Return what a regular file has, at most MAX_FILE_BYTES. Raises OSError.

    A program that was taken over chooses what is in its folder: a pipe would keep the reader
    waiting, and a link could lead to another file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(MAX_FILE_BYTES)
