"""What a process asks of the C library's memory (glibc). Does nothing with another one."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def return_blocks(from_bytes: int) -> None:
    """Give each block of at least `from_bytes` pages of its own, and return them when it is freed.

    A page becomes resident when it is used. By default, glibc does this for blocks of 128 KiB and
    more only until one is freed: then it keeps blocks of that size, up to 64 MB, for the next time.
    """
    change_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if change_option is not None:
        change_option(M_MMAP_THRESHOLD, from_bytes)


def return_freed_memory() -> None:
    """Return freed memory to the operating system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
