"""The folder of the audit log: reads its files, and appends lines in a thread of its own.

The files are `audit-000001.jsonl`, `audit-000002.jsonl` and so on. A file is never written again
after a restart or an error: each start, and each retry after an error, begins the next one. No
file is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from appliance.audit.chain import Head, find_head
from appliance.errors import AuditUnavailable

RETRY_SECONDS = 10.0  # between two attempts to write after an error
MAX_WAITING_LINES = 10_000  # kept in memory while the folder cannot be written; about 5 MB
CLOSE_SECONDS = 3.0  # for the last lines; below the time in which the gateway has to stop
_NAME = re.compile(r"audit-(\d{6,})\.jsonl")


def files(folder: Path) -> list[Path]:
    """Return the files of the audit log in `folder`, the oldest first. Raises OSError."""
    numbered = [(int(match[1]), path) for path in folder.iterdir() if (match := _match(path))]
    return [path for _, path in sorted(numbered)]


def lines_of(paths: Iterable[Path]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield the name and the lines of each file, for `verify`. Raises OSError."""
    for path in paths:
        with path.open("rb") as file:
            yield path.name, file


class AuditFolder:
    """Appends lines to the files of a folder. Locks the folder, because a chain has one writer."""

    def __init__(self, folder: Path, file_bytes: int) -> None:
        """Read the head of the chain, and begin a file. Raises AuditUnavailable."""
        self._folder = folder
        self._file_bytes = file_bytes
        self._file: int | None = None
        self._size = 0
        self._path = folder
        try:
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.head = self._read_head()
                self._begin_file()
            except OSError:
                self._close_file()
                os.close(self._lock)
                raise
        except BlockingIOError as problem:
            why = "another appliance writes there"
            raise AuditUnavailable(path=folder, why=why) from problem
        except OSError as problem:
            raise AuditUnavailable(path=folder, why=problem.strerror or "error") from problem

    def append(self, line: bytes) -> None:
        """Append a line, given without its newline, and wait until it is on the disk.

        Raises OSError; then nothing of the line is left, if the file can still be shortened.
        """
        text = line + b"\n"
        if self._file is None or (self._size and self._size + len(text) > self._file_bytes):
            self._begin_file()
        assert self._file is not None
        try:
            written = os.write(self._file, text)
            if written < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._file)
        except OSError:
            self._abandon_file()
            raise
        self._size += len(text)

    def close(self) -> None:
        """Close the file, and release the lock."""
        self._close_file()
        os.close(self._lock)

    def _read_head(self) -> Head:
        for path in reversed(files(self._folder)):
            if head := find_head(path.read_bytes()):
                return head
        return Head()

    def _begin_file(self) -> None:
        self._close_file()
        last = files(self._folder)[-1:]
        number = int(_match(last[0])[1]) + 1 if last else 1  # type: ignore[index]
        self._path = self._folder / f"audit-{number:06}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._size = 0
        os.fsync(self._lock)  # so that the name is on the disk, too

    def _abandon_file(self) -> None:
        """Remove the incomplete line, and the file if nothing else is in it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
        if self._size == 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = None


class FolderWriter:
    """Hands lines to a thread, so that a slow or full disk never delays a call.

    on_error    called in the thread with the first error, and with None when lines are written
                again
    on_loss     called for each line that is dropped, because too many are waiting or the process
                ends
    """

    def __init__(
        self,
        folder: AuditFolder,
        on_error: Callable[[OSError | None], None],
        on_loss: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._on_error = on_error
        self._on_loss = on_loss
        self._lines: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING_LINES)
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Append a line soon."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._on_loss()

    def close(self) -> None:
        """Write the waiting lines, for at most CLOSE_SECONDS, and end the thread."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not (self._closing.is_set() and self._lines.empty()):
            line = self._lines.get()
            if line is not None and not self._written(line):
                self._on_loss()
        self._folder.close()

    def _written(self, line: bytes) -> bool:
        """Write a line, and try again after an error. Return False if the process ends first."""
        while True:
            try:
                self._folder.append(line)
            except OSError as problem:
                if not self._failing:
                    self._failing = True
                    self._on_error(problem)
                if self._closing.wait(RETRY_SECONDS):
                    return False
                continue
            if self._failing:
                self._failing = False
                self._on_error(None)
            return True


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)
