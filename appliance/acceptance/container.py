"""What the container takes from its processes, as the kernel shows it from inside.

The wanted values are those of ops/container.flags and of the image's user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from appliance.acceptance.report import Result, judged, skipped

CHECK = "container"
FLAGS = "Start it with all flags of ops/container.flags."


def check(pids: Sequence[int], told: bool, proc: Path = Path("/proc")) -> list[Result]:
    """Looks at the appliance's processes, if we were `told` that they are in a container, or see it
    by the first process; skipped otherwise."""
    if not (told or _is_ours(proc / "1/cmdline")):
        return [skipped(CHECK, "not in the sealed container")]
    statuses = [_status(proc / str(pid) / "status") for pid in pids]
    return [
        *rights([status for status in statuses if status]),
        root((proc / "self/mounts").read_text(encoding="utf-8")),
    ]


def rights(statuses: Iterable[Mapping[str, str]]) -> list[Result]:
    """User, capabilities and new privileges of every process (proc(5), status)."""
    of = list(statuses)
    users = sorted({user for one in of for user in one["Uid"].split()}, key=int)
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    held = sorted({f"{name} {one[name]}" for one in of for name in sets if int(one[name], 16)})
    free = [one["Name"] for one in of if one["NoNewPrivs"] != "1"]
    return [
        judged(
            CHECK,
            bool(of) and "0" not in users,
            f"{len(of)} processes as user {', '.join(users)}",
            "no process as root",
            "Do not set a user when it is started: the image has its own, 10001.",
        ),
        judged(
            CHECK,
            bool(of) and not held,
            ", ".join(held) or "no capabilities",
            "no capabilities",
            FLAGS,
        ),
        judged(
            CHECK,
            bool(of) and not free,
            f"new privileges possible for {', '.join(free)}" if free else "no new privileges",
            "no new privileges",
            FLAGS,
        ),
    ]


def root(mounts: str) -> Result:
    """Whether the root file system is read-only, by the list of mounts (proc(5))."""
    of = [line.split() for line in mounts.splitlines()]
    options = next((line[3].split(",") for line in reversed(of) if line[1] == "/"), [])
    sealed = "ro" in options
    found = "root file system " + ("read-only" if sealed else "writable")
    return judged(CHECK, sealed, found, "root file system read-only", FLAGS)


def _is_ours(cmdline: Path) -> bool:
    words = cmdline.read_bytes().split(b"\0")
    return b"appliance" in words and b"boot" in words


def _status(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}  # It has just ended.
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
