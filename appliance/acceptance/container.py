"""Check that the container confines its processes.

The check runs inside the container and reads the kernel's view in /proc. The expected values follow
from ops/container.flags and the image's user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from appliance.acceptance.report import CheckResult, judge, skip

CHECK = "container"
ADVICE = "Start the container with all flags of ops/container.flags."


def check(pids: Sequence[int], in_container: bool, proc: Path = Path("/proc")) -> list[CheckResult]:
    """Check the appliance's processes and the root file system.

    Skipped outside a container, that is, if `in_container` is false and process 1 is not `boot`.
    """
    if not (in_container or _is_boot(proc / "1/cmdline")):
        return [skip(CHECK, "not in the sealed container")]
    statuses = [_read_status(proc / str(pid) / "status") for pid in pids]
    return [
        *check_privileges([status for status in statuses if status]),
        check_root((proc / "self/mounts").read_text(encoding="utf-8")),
    ]


def check_privileges(statuses: Iterable[Mapping[str, str]]) -> list[CheckResult]:
    """Check user, capabilities and no_new_privs of every process (proc(5), status)."""
    processes = list(statuses)
    users = sorted({user for process in processes for user in process["Uid"].split()}, key=int)
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    capabilities = sorted(
        {
            f"{name} {process[name]}"
            for process in processes
            for name in sets
            if int(process[name], 16)
        }
    )
    unconfined = [process["Name"] for process in processes if process["NoNewPrivs"] != "1"]
    return [
        judge(
            CHECK,
            bool(processes) and "0" not in users,
            f"{len(processes)} processes run as user {', '.join(users)}",
            "no process runs as root",
            "Start the container without a --user option: the image defines user 10001.",
        ),
        judge(
            CHECK,
            bool(processes) and not capabilities,
            ", ".join(capabilities) or "no capabilities",
            "no capabilities",
            ADVICE,
        ),
        judge(
            CHECK,
            bool(processes) and not unconfined,
            f"no_new_privs is not set for {', '.join(unconfined)}"
            if unconfined
            else "no_new_privs is set",
            "no_new_privs is set for every process",
            ADVICE,
        ),
    ]


def check_root(mounts: str) -> CheckResult:
    """Check in the list of mounts (proc(5)) that the root file system is read-only."""
    lines = [line.split() for line in mounts.splitlines()]
    options = next((line[3].split(",") for line in reversed(lines) if line[1] == "/"), [])
    read_only = "ro" in options
    actual = "the root file system is " + ("read-only" if read_only else "writable")
    return judge(CHECK, read_only, actual, "a read-only root file system", ADVICE)


def _is_boot(cmdline: Path) -> bool:
    words = cmdline.read_bytes().split(b"\0")
    return b"appliance" in words and b"boot" in words


def _read_status(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}  # the process has just exited
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
