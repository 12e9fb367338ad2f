#!/usr/bin/env python3
"""Write stdin as numbered parts, and hash it meanwhile. Connected side only.

    ops/stream_parts.py FOLDER HASHES PART_BYTES

FOLDER gets image-000.part, image-001.part and so on. Each has the suffix `.partial` until it is
synced to the disk. HASHES, another folder, gets the SHA-256 of each part in NAME.sha256. Standard
library only: ops/export runs it with the system's Python.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import time
from io import FileIO
from pathlib import Path

# Every byte passes through one buffer, in blocks that are large compared with the cost of a system
# call. A pipe holds at most 1 MiB without special rights, pipe(7).
BLOCK_BYTES = 1024 * 1024
# The kernel is asked to write to the disk in these steps, so that little is left for the last sync.
FLUSH_BYTES = 64 * 1024 * 1024
PROGRESS_SECONDS = 2.0


class PartWriter:
    """Write a stream as parts of `part_bytes`, with their hashes."""

    def __init__(self, folder: Path, hashes: Path, part_bytes: int) -> None:
        self._folder, self._hashes, self._part_bytes = folder, hashes, part_bytes
        self._stream_bytes = 0
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        self._buffer = memoryview(bytearray(BLOCK_BYTES))

    def write_all(self, source: int) -> None:
        """Read the file descriptor `source` to its end, and write at least one part.

        Raises OSError if a file cannot be written.
        """
        number = 0
        while self._write_part(source, number):
            number += 1

    def _write_part(self, source: int, number: int) -> bool:
        """Write one part; return whether it is full, so that more may follow."""
        name = f"image-{number:03}.part"
        partial = self._folder / f"{name}.partial"
        part_hash = hashlib.sha256()
        with partial.open("wb", buffering=0) as part:
            written = self._copy(source, part, part_hash)
            os.fsync(part.fileno())
        if not written and number:
            partial.unlink()  # the stream ended with the previous part
            return False
        (self._hashes / f"{name}.sha256").write_text(f"{part_hash.hexdigest()}\n")
        partial.rename(self._folder / name)
        return written == self._part_bytes

    def _copy(self, source: int, part: FileIO, part_hash: hashlib._Hash) -> int:
        """Copy to `part` until it is full or the stream ends; return its size in bytes."""
        written = flushed = 0
        while count := os.readv(source, [self._buffer[: self._part_bytes - written]]):
            block = self._buffer[:count]
            part_hash.update(block)
            while block:
                block = block[part.write(block) :]
            written += count
            if written - flushed >= FLUSH_BYTES:
                step = written - flushed
                os.posix_fadvise(part.fileno(), flushed, step, os.POSIX_FADV_DONTNEED)
                flushed = written
            self._print_progress(count)
        return written

    def _print_progress(self, count: int) -> None:
        self._stream_bytes += count
        if time.monotonic() >= self._next_progress:
            print(f"{self._stream_bytes / 1e6:,.0f} MB written", flush=True)
            self._next_progress = time.monotonic() + PROGRESS_SECONDS


def main(arguments: list[str]) -> int:
    """Run the command and return the exit code."""
    match arguments:
        case [folder, hashes, size] if size.isdecimal() and int(size) > 0:
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    source = sys.stdin.fileno()
    with contextlib.suppress(OSError):  # not a pipe, or the limit of the user is lower
        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, BLOCK_BYTES)
    try:
        PartWriter(Path(folder), Path(hashes), int(size)).write_all(source)
    except OSError as problem:
        print(f"error: {problem.filename or folder}: {problem.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
