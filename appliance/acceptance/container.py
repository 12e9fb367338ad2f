"""Does the container confine its processes? Read from the kernel, inside the container.

The expected values are those of ops/container.flags and of the image's user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from appliance.acceptance.report import CheckResult, judge, skip

CHECK = "container"
ADVICE = "Start the container with all flags of ops/container.flags."


def check(pids: Sequence[int], in_container: bool, proc: Path = Path("/proc")) -> list[CheckResult]:
    """Check the appliance's processes.

    Skipped outside a container: `in_container` is false, and the first process is not `boot`.
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
            f"{len(processes)} processes as user {', '.join(users)}",
            "no process as root",
            "Do not set a user when you start it: the image has its own, 10001.",
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
            f"new privileges possible for {', '.join(unconfined)}"
            if unconfined
            else "no new privileges",
            "no new privileges",
            ADVICE,
        ),
    ]


def check_root(mounts: str) -> CheckResult:
    """Check that the root file system is read-only, by the list of mounts (proc(5))."""
    lines = [line.split() for line in mounts.splitlines()]
    options = next((line[3].split(",") for line in reversed(lines) if line[1] == "/"), [])
    read_only = "ro" in options
    found = "root file system " + ("read-only" if read_only else "writable")
    return judge(CHECK, read_only, found, "root file system read-only", ADVICE)


def _is_boot(cmdline: Path) -> bool:
    words = cmdline.read_bytes().split(b"\0")
    return b"appliance" in words and b"boot" in words


def _read_status(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}  # the process has just ended
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
