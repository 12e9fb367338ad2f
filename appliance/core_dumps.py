"""Switch core dumps off, and hide this process's memory from other processes of the same user.

Both would hold callers' words, tokens and keys.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
from pathlib import Path

FILTER = Path("/proc/self/coredump_filter")  # core(5): which memory a dump contains
PR_SET_DUMPABLE = 4  # linux/prctl.h


def disable() -> None:
    """Switch core dumps off for this process and all that it starts.

    The limit prevents files. A kernel that pipes dumps to a program ignores it; for that case the
    filter excludes all memory. Both are inherited, also over exec.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # no /proc, or a read-only one
        FILTER.write_text("0")


def hide_memory() -> None:
    """Hide memory, environment and open files of this process from others of the same user.

    The kernel then refuses them ptrace(2) and most of /proc/PID, and dumps no core at all. It is
    not inherited over exec. Call it after `disable`: from here on the process may not write all of
    its own files in /proc either.
    """
    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, zero, zero, zero, zero)
