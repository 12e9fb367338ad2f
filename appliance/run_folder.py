"""The small files the processes leave for each other in the run folder (tmpfs).

boot.lock              held by the one boot that runs here, whose pid is in it
draining               stands while an operator keeps new callers out (appliance/run_folder.py)
seal.json              when the weights were last found intact, and how; outlives a restart
restarts.json          restarts of each program so far; the exporter reads it
PROGRAM.failed.json    why a program refused to start, or ended itself; the guard takes it
guard.failed.json      why the appliance has to end; boot reads it
guard.json             the guard's beat and book (ledger.py); boot, exporter and status read it.
                       Its counts outlive a restart where the folder does
reason.json            why the appliance ended, for the host
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from appliance.errors import AlreadyRunning, ApplianceError, BadSetting, catalogue

MARK = "draining"


def begin(run: Path) -> None:
    """Keeps new callers out. Raises FileNotFoundError when there is no run folder."""
    with (run / MARK).open("a"):  # a second time leaves the time of the first
        pass


def end(run: Path) -> None:
    """Lets callers in again."""
    (run / MARK).unlink(missing_ok=True)


def since(run: Path) -> float | None:
    """Unix time since which new callers are kept out; None when they are not."""
    try:
        return (run / MARK).stat().st_mtime
    except FileNotFoundError:
        return None


MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), without its final zero
LONGEST_NAME = "supervisor.sock.4194304"  # supervisord binds NAME.PID before it renames


def claim(run: Path) -> TextIO:
    """Makes the folder, clears what an earlier run left and holds the lock while the file is open.

    Of the guard's book the counts stay.

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
    actions = read_guard(run).get("actions")
    left = ("reason.json", "restarts.json", "guard.json")
    for old in [*run.glob("*.failed.json"), *(run / name for name in left)]:
        old.unlink(missing_ok=True)
    if actions:  # a counter goes on; nobody may have seen the last one before that run ended
        write_guard(run, {"actions": actions})
    end(run)
    lock.truncate(0)
    lock.write(_identity(os.getpid()))
    lock.flush()
    return lock


def boot_pid(run: Path) -> int | None:
    """The pid of the boot that runs here, as /proc shows it; None when none does."""
    try:
        claimed = (run / "boot.lock").read_text(encoding="ascii")
        pid = int(claimed.split()[0])
        return pid if claimed == _identity(pid) else None
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return None


def _identity(pid: int) -> str:
    """The pid and when the process began, in ticks that no change of the clock touches (proc(5)).

    Raises FileNotFoundError or ProcessLookupError when it is gone, as a zombie is.
    """
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if status[0] == "Z":
        raise ProcessLookupError(pid)
    return f"{pid} {status[19]}"


def write_failure(run: Path, program: str, error: ApplianceError) -> None:
    """Leaves word of why a program ends; without a run folder nobody is listening."""
    if run.is_dir():
        _write(run / f"{program}.failed.json", {"reason": error.reason, "details": error.details})


def read_failure(run: Path, program: str) -> ApplianceError | None:
    """The error of which a program left word, if it did."""
    left = _read(run / f"{program}.failed.json")
    kind = catalogue().get(str(left.get("reason")))
    details = left.get("details")
    return kind(**details) if kind and isinstance(details, dict) else None


def take_failure(run: Path, program: str) -> ApplianceError | None:
    """The same, once: its next end may have another cause."""
    left = read_failure(run, program)
    (run / f"{program}.failed.json").unlink(missing_ok=True)
    return left


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


def write_guard(run: Path, told: Mapping[str, object]) -> None:
    """Publishes what the guard tells of itself."""
    _write(run / "guard.json", told)


def read_guard(run: Path) -> dict[str, Any]:
    """What the guard told last; empty when none has run here."""
    return _read(run / "guard.json")


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
    except (FileNotFoundError, ValueError):  # a power cut may leave an empty file
        return {}
    return content if isinstance(content, dict) else {}
