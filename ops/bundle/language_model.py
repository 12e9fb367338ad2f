"""One line about the language model that `make setup` takes, and why. Pure, except `this_machine`.

docs/performance.md has the measurements behind the limits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.settings import variable
from appliance.weights.choices import choices, settings_with_choices
from appliance.weights.manifest import Manifest

# For the default model: the appliance has 3.3 GB of resident memory, the model's file included.
# On one core the answer comes 1.5 times as late, and has gaps.
CORES_NEEDED = 2
MEMORY_NEEDED_BYTES = 3_500_000_000
CGROUP = Path("/sys/fs/cgroup")  # cgroups(7), version 2, as a container sees it


@dataclass(frozen=True, slots=True)
class HostSize:
    """What this process may use: CPU cores, and memory in bytes."""

    cores: int
    memory_bytes: int

    @property
    def is_enough(self) -> bool:
        """Whether the default model fits, and answers without gaps."""
        return self.cores >= CORES_NEEDED and self.memory_bytes >= MEMORY_NEEDED_BYTES


def describe(
    lock: Manifest, profile: str, names: Mapping[str, str], machine: HostSize
) -> Iterator[str]:
    """Yield a line for each setting that chooses a model of the profile.

    names  the chosen folders by setting; a setting that is missing has its default
    """
    for setting in settings_with_choices(lock, profile):
        default, *others = choices(lock, profile, setting)
        name, others_text = variable(setting), " or ".join(others)
        if setting in names:
            reason = f"chosen by {name}, for slow machines; the default is {default}"
            if names[setting] == default:
                reason = f"chosen by {name}, also the default; for slow machines: {others_text}"
        elif not others:
            reason = "the default"
        elif machine.is_enough:
            reason = f"the default; on a slow machine set {name}={others_text}"
        else:
            reason = (
                f"the default, BUT this machine is too small: it has {_size(machine)}, the model "
                f"needs {_size(HostSize(CORES_NEEDED, MEMORY_NEEDED_BYTES))}; "
                f"set {name}={others_text}"
            )
        yield f"  language model: {names.get(setting, default)}, {reason}"


def _size(machine: HostSize) -> str:
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    return f"{cores} and {machine.memory_bytes / 1e9:.1f} GB of memory"


def this_machine(cgroup: Path = CGROUP) -> HostSize:
    """Return the cores and the memory that this process may use, by affinity and cgroup limits."""
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    memory_bytes = psutil.virtual_memory().total
    limit = _read(cgroup / "memory.max")
    return HostSize(cores, min(memory_bytes, int(limit)) if limit.isdigit() else memory_bytes)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
