"""Confines the running process: no_new_privs, Landlock and the seccomp filter, in this order.

Call it before a library starts threads: Landlock restricts only the calling thread and those that
it starts. Nothing can be undone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from appliance import journal
from appliance.confinement import landlock, system_calls

PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h; the container sets it, too
_SECCOMP, _SET_MODE_FILTER, _ALL_THREADS = 317, 1, 1  # SECCOMP_FILTER_FLAG_TSYNC
NULL = Path(os.devnull)
DEVICES = Path("/dev")
GPU_DEVICES = "nvidia*"  # NVML opens them for writing
# What a process can still do because the kernel has no means against it: write files outside its
# folders, open TCP connections, or call what the filter refuses.
Gap = Literal["files", "connections", "system_calls"]
GAPS: tuple[Gap, ...] = get_args(Gap)
log = journal.get()


@dataclass(frozen=True, slots=True)
class Confinement:
    """What is in effect: whether system calls are filtered, and the version of Landlock's ABI."""

    filtered: bool
    landlock: int

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What the process is not confined in, although it should be."""
        is_open: dict[Gap, bool] = {
            "files": not self.landlock,
            "connections": self.landlock < landlock.CONNECT_FROM,
            "system_calls": not self.filtered,
        }
        return tuple(gap for gap in GAPS if is_open[gap])


def confine(writable: Iterable[Path]) -> Confinement:
    """Take away all rights that the gateway and the exporter do not need.

    writable    folders in which the process may create, change and delete files; those that do
                not exist are left out

    What the kernel does not offer is left out, and logged as a warning.
    """
    result = Confinement(landlock=_restrict(writable), filtered=_filter())
    if "system_calls" in result.gaps:
        log.warning("system calls are not filtered")
    if "files" in result.gaps:
        log.warning("kernel has no landlock")
    if "connections" in result.gaps:
        log.warning("connections are not confined")
    return result


def _restrict(folders: Iterable[Path]) -> int:
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    try:
        return landlock.restrict([*folders, NULL, *DEVICES.glob(GPU_DEVICES)])
    except OSError:  # a filter of the container engine may refuse it with any error
        return 0


def _filter() -> bool:
    """Install the filter in all threads. False if the kernel or the machine has no such filter."""
    if os.uname().machine != system_calls.MACHINE:
        return False
    code = system_calls.program(os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, of 8 bytes each, and their address
    attributes = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    arguments = (ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_ALL_THREADS))
    return bool(libc.syscall(ctypes.c_long(_SECCOMP), *arguments, attributes) == 0)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), zero, zero, zero)
