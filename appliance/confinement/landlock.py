"""Landlock: where a confined process may write, on kernels that offer it.

Landlock (Linux 5.13) restricts a process without privileges. In addition to its rules for files it
refuses access to the memory of every process outside of its domain. The versions of its ABI that
the kernel has are asked for; older ones have fewer rules. See the kernel's
Documentation/userspace-api/landlock.rst and linux/landlock.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_ASK_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH

_EXECUTE, _WRITE_FILE, _TRUNCATE = 1 << 0, 1 << 1, 1 << 14
_REMOVE_FILE, _MAKE_REGULAR, _MAKE_SOCKET = 1 << 5, 1 << 8, 1 << 9
_CHANGES = _EXECUTE | _WRITE_FILE | 0b1_1111_1111 << 4  # remove and make, of all kinds
# Versions of the ABI: of Linux 5.19, 6.2, 6.7 and 6.12.
_REFER_FROM, _TRUNCATE_FROM, CONNECT_FROM, _SCOPES_FROM = 2, 3, 4, 6
_REFER, _CONNECT_TCP, _SCOPES = 1 << 13, 1 << 1, 0b11  # abstract sockets and signals
_FOLDER_RIGHTS = _WRITE_FILE | _TRUNCATE | _REMOVE_FILE | _MAKE_REGULAR | _MAKE_SOCKET
_FILE_RIGHTS = _WRITE_FILE | _TRUNCATE


def version() -> int:
    """Return the version of the kernel's Landlock ABI; 0 if there is none."""
    return max(0, _system_call(_CREATE_RULESET, None, 0, _ASK_VERSION))


def restrict(writable: Iterable[Path]) -> int:
    """Restrict this thread, and the threads that it starts, for good. Return the ABI's version.

    It can then write only into the folders and files `writable`; those that do not exist are left
    out. It cannot execute files, and depending on the version neither open TCP connections nor
    signal other processes. 0 if the kernel has no Landlock; nothing is restricted then. Needs
    no_new_privs. Raises OSError.
    """
    abi = version()
    if not abi:
        return 0
    files = _CHANGES
    files |= _REFER if abi >= _REFER_FROM else 0
    files |= _TRUNCATE if abi >= _TRUNCATE_FROM else 0
    network = _CONNECT_TCP if abi >= CONNECT_FROM else 0
    scopes = _SCOPES if abi >= _SCOPES_FROM else 0
    attributes = struct.pack("=QQQ", files, network, scopes)  # a kernel accepts zeros at the end
    rules = _checked(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in writable:
            with contextlib.suppress(FileNotFoundError):
                _allow(rules, path, files)
        _checked(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return abi


def _allow(rules: int, path: Path, handled: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = (_FOLDER_RIGHTS if path.is_dir() else _FILE_RIGHTS) & handled
        beneath = struct.pack("=Qi", rights, opened)
        _checked(_ADD_RULE, rules, _PATH_BENEATH, beneath, 0)
    finally:
        os.close(opened)


def _checked(number: int, *arguments: int | bytes | None) -> int:
    result = _system_call(number, *arguments)
    if result < 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
    return result


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *map(_argument, arguments)))


def _argument(value: int | bytes | None) -> ctypes.c_long | ctypes.c_void_p:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return ctypes.cast(ctypes.c_char_p(value), ctypes.c_void_p)
