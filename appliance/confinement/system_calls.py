"""The seccomp filter of a confined process, as a BPF program for x86-64. No I/O.

A process of the same user could signal and inspect the others. The filter refuses the system calls
for that, and the ones that would get around it: it starts no process, and it opens sockets only
for TCP and Unix. All processes of the container have the same user, so the kernel's permissions
alone do not separate them.

Files of the others cannot be written where Landlock is in effect (landlock.py), but no version of
it has rules for modes, owners, times, attributes and leases, and before Linux 6.2 none for
truncation. The filter sees numbers only, no paths, so it refuses these for all files.

Sources: linux/filter.h, linux/seccomp.h, linux/audit.h and the kernel's
arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

MACHINE = "x86_64"  # of uname(2): the numbers below are those of this architecture
AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000  # marks system calls of the x32 ABI, which have other numbers

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
_IF_EQUAL, _IF_AT_LEAST = 0x15, 0x35  # BPF_JMP|JEQ|K, BPF_JMP|JGE|K
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_*
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
REFUSED = _ERRNO | errno.EPERM
MISSING = _ERRNO | errno.ENOSYS  # libraries then use an older call, which is filtered

# Refused whatever the arguments are.
NEVER: Mapping[str, int] = {
    # Read and change other processes, and get their descriptors.
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "process_mrelease": 448,
    "migrate_pages": 256, "move_pages": 279, "userfaultfd": 323, "perf_event_open": 298,
    # Signals with other arguments than kill and tgkill.
    "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424,
    # New processes and programs: only the process itself is filtered by its id.
    "execve": 59, "execveat": 322, "fork": 57, "vfork": 58,
    # Namespaces, file systems, keys, and the kernel.
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
    "open_by_handle_at": 304, "bpf": 321, "add_key": 248, "request_key": 249, "keyctl": 250,
    # Changes of files that need no descriptor for writing.
    "truncate": 76, "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452,
    "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
    "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280,
    "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "setxattrat": 463,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "removexattrat": 466,
    "file_setattr": 469,
}  # fmt: skip
# Their arguments are in memory, which a filter cannot read. io_uring does what would be refused.
UNSUPPORTED: Mapping[str, int] = {
    "clone3": 435, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "openat2": 437,
}  # fmt: skip
KILL, TGKILL, PRLIMIT64 = 62, 234, 302  # allowed for the process itself
CLONE, CLONE_THREAD = 56, 0x00010000  # allowed for threads
SOCKET, TYPE_MASK = 41, 0xF  # the type has flags above its four bits
AF_UNIX, AF_INET, AF_INET6, SOCK_STREAM = 1, 2, 10, 1
FCNTL, IOCTL = 72, 16
# F_SETOWN, F_SETSIG and F_SETOWN_EX: input on a descriptor then sends any signal to any process of
# the same user. FIOSETOWN and SIOCSPGRP are F_SETOWN for sockets. F_SETLEASE delays those who open
# the file.
FILE_COMMANDS = (8, 10, 15, 1024)
OWNER_REQUESTS = (0x8901, 0x8902)
# O_TRUNC without a descriptor for writing: O_RDONLY, or 3, which gives a descriptor for neither.
OPEN, OPENAT, O_TRUNC, O_ACCMODE = 2, 257, 0o1000, 0b11
TRUNCATING_FLAGS = (O_TRUNC, O_TRUNC | 0b11)


def program(pid: int) -> bytes:
    """Return the filter of the process `pid` as an array of struct sock_filter."""
    code = [
        *_if_not(_ARCHITECTURE, AUDIT_ARCH_X86_64, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER),
        _instruction(_IF_AT_LEAST, X32_BIT, 0, 1),
        _instruction(_RETURN, MISSING),
    ]
    for number in NEVER.values():
        code += _on_call(number, [_instruction(_RETURN, REFUSED)])
    for number in UNSUPPORTED.values():
        code += _on_call(number, [_instruction(_RETURN, MISSING)])
    for number in (KILL, TGKILL):
        code += _on_call(number, _allow_only(0, (pid,)))
    code += _on_call(PRLIMIT64, _allow_only(0, (0, pid)))
    code += _on_call(CLONE, _allow_only(0, (CLONE_THREAD,), mask=CLONE_THREAD))
    code += _on_call(SOCKET, _socket_rules())
    code += _on_call(OPEN, _refuse_only(1, TRUNCATING_FLAGS, mask=O_TRUNC | O_ACCMODE))
    code += _on_call(OPENAT, _refuse_only(2, TRUNCATING_FLAGS, mask=O_TRUNC | O_ACCMODE))
    code += _on_call(FCNTL, _refuse_only(1, FILE_COMMANDS))
    code += _on_call(IOCTL, _refuse_only(1, OWNER_REQUESTS))
    code.append(_instruction(_RETURN, _ALLOW))
    return b"".join(code)


def _socket_rules() -> list[bytes]:
    """Allow Unix sockets, and TCP of IPv4 and IPv6."""
    stream = _allow_only(1, (SOCK_STREAM,), mask=TYPE_MASK)
    return [
        _instruction(_LOAD, _argument(0)),
        _instruction(_IF_EQUAL, AF_UNIX, 0, 1),
        _instruction(_RETURN, _ALLOW),
        _instruction(_IF_EQUAL, AF_INET, 2, 0),
        _instruction(_IF_EQUAL, AF_INET6, 1, 0),
        _instruction(_RETURN, REFUSED),
        *stream,
    ]


def _allow_only(argument: int, values: tuple[int, ...], mask: int = 0) -> list[bytes]:
    """Allow the call if the lower half of an argument has one of the values, else refuse it."""
    code = [_instruction(_LOAD, _argument(argument))]
    if mask:
        code.append(_instruction(_AND, mask))
    for value in values:
        code += [_instruction(_IF_EQUAL, value, 0, 1), _instruction(_RETURN, _ALLOW)]
    return [*code, _instruction(_RETURN, REFUSED)]


def _refuse_only(argument: int, values: tuple[int, ...], mask: int = 0) -> list[bytes]:
    """Refuse the call if the lower half of an argument has one of the values, else allow it."""
    code = [_instruction(_LOAD, _argument(argument))]
    if mask:
        code.append(_instruction(_AND, mask))
    for value in values:
        code += [_instruction(_IF_EQUAL, value, 0, 1), _instruction(_RETURN, REFUSED)]
    return [*code, _instruction(_RETURN, _ALLOW)]


def _on_call(number: int, rules: list[bytes]) -> list[bytes]:
    """Run the rules, which return, for one system call. Its number stays loaded for the others."""
    return [_instruction(_IF_EQUAL, number, 0, len(rules)), *rules]


def _if_not(offset: int, value: int, action: int) -> list[bytes]:
    return [
        _instruction(_LOAD, offset),
        _instruction(_IF_EQUAL, value, 1, 0),
        _instruction(_RETURN, action),
    ]


def _argument(number: int) -> int:
    """Return the offset of the lower half of an argument; x86-64 is little-endian.

    The arguments that the filter compares are 32 bits wide in the kernel.
    """
    return 16 + 8 * number


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
