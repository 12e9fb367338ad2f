"""The token store's file: read it, change it, and notice that it was changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.access.store import MAX_FILE_BYTES, BadStore, Store, read, write

FILE_MODE = 0o600
Version = tuple[int, int, int, int]  # device, inode, size and time of change of a file


def version_of(path: Path) -> Version | None:
    """Return what changes with the file, or None if there is none. Raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def load(path: Path) -> Store | None:
    """Return the store in a file, or None if there is no file. Raises BadStore or OSError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        return read(content.decode("ascii"))
    except UnicodeDecodeError:
        raise BadStore("it is not ASCII text") from None


def is_exposed(path: Path) -> bool:
    """Whether all users of the machine can read the file. Raises OSError."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def change(path: Path, changed: Callable[[Store | None], Store]) -> None:
    """Replace the store in a file by what `changed` returns for it.

    A reader sees the old file or the new one. Two changes at the same time follow each other.
    Raises BadStore or OSError, and what `changed` raises; the file is then as before.
    """
    with _locked(path.parent):
        text = write(changed(load(path)))
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            _write(temporary, text, _owner(path))
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _write(path: Path, text: str, owner: tuple[int, int]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        if os.geteuid() == 0:  # root works for the user who owns the folder
            os.fchown(file.fileno(), *owner)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _owner(path: Path) -> tuple[int, int]:
    status = (path if path.exists() else path.parent).stat()
    return status.st_uid, status.st_gid


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
