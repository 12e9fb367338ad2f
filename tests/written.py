"""Everything that processes have written or show: files, deleted files, command lines, variables.

For tests that search it for words. Run as root, or as the user of processes that hide nothing.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

MAX_FILE_BYTES = 64_000_000  # larger open files are the models, which are not written


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of each regular file; sockets and pipes keep nothing."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


def shown_by(pid: int) -> Iterator[tuple[str, bytes]]:
    """Yield what a process shows of itself, and its open files that have no name any more."""
    folder = Path(f"/proc/{pid}")
    for name in ("cmdline", "environ", "comm", "status"):
        yield f"{name} of {pid}", (folder / name).read_bytes()
    for descriptor in (folder / "fd").iterdir():
        target = str(descriptor.readlink())
        if target.endswith("(deleted)"):  # a removed file, or a memory file (memfd)
            facts = descriptor.stat()
            if stat.S_ISREG(facts.st_mode) and facts.st_size < MAX_FILE_BYTES:
                yield f"{target} of {pid}", descriptor.read_bytes()


def core_limits(pid: int) -> tuple[str, str]:
    """Return the limit of core files, and the filter that says what a dump contains."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = (line for line in limits if line.startswith("Max core file size"))
    return line.split()[5], Path(f"/proc/{pid}/coredump_filter").read_text().strip()


def in_archive(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for entry in opened:
            if content := opened.extractfile(entry):
                yield entry.name, content.read()


def find(words: Iterable[str], sources: Mapping[str, bytes]) -> list[str]:
    """Return "WORD in SOURCE" for every source that contains a word, in any case."""
    wanted = [word.lower() for word in words]
    return [
        f"{word} in {name}"
        for name, content in sources.items()
        for word in wanted
        if word.encode() in content.lower()
    ]
