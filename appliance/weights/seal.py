"""Verify the seal: compare a weights folder with the lock.

The seal is intact if every listed file exists with the listed size and hash, there are no other
files, and no file is a pickle. `verify` reads the files; the pure functions below it decide. In the
image, the seal is verified before any other process starts.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.errors import SealBroken
from appliance.weights.manifest import Manifest, Weight

_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 4096

# Suffixes of files that loaders unpickle. `.bin` is not included, because voices and spaCy's tables
# also use it. Such files are checked by content.
_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})

# Usual beginnings of pickles with protocols 0 and 1: a container or a global, and its first use.
_OLD_PICKLE = re.compile(
    rb"\((?:l|d|t)p\d+\n|[\]}]q.|\(+[ld]q.|\(*c[\w.]+\n[\w.]+\n(?:\(|\)|q.|p\d+\n)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class SealReport:
    """What was verified, and how fast. `full` means that every byte was read."""

    files: int
    size_bytes: int
    seconds: float
    full: bool

    def __str__(self) -> str:
        text = f"seal intact: {self.files} files, {self.size_bytes / 1e6:,.0f} MB, "
        if not self.full:
            return f"{text}sizes and names only in {self.seconds:.2f} s"
        gigabytes_per_second = self.size_bytes / max(self.seconds, 1e-9) / 1e9
        speed = f"{self.seconds:.2f} s ({gigabytes_per_second:.1f} GB/s)"
        return f"{text}every byte read in {speed}"


def verify(folder: Path, manifest: Manifest, profile: str, full: bool = True) -> SealReport:
    """Compare `folder` with the manifest; with `full`, read and hash every file.

    Raises SealBroken with the first invalid file and the reason.
    """
    started_at = time.monotonic()
    sizes = dict(_list_files(folder))
    expected = {
        weight.path: weight
        for source in manifest.for_profile(profile)
        for weight in manifest.of_source(source.name)
    }
    _raise_first(problems(manifest, profile, sizes))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # Largest files first. Otherwise, one thread may still be reading the largest file when all
        # others are idle.
        paths = sorted(sizes, key=sizes.__getitem__, reverse=True)
        _raise_first(
            problem
            for problem in pool.map(lambda path: _check_file(folder, expected[path], full), paths)
            if problem
        )
    seconds = time.monotonic() - started_at
    return SealReport(len(sizes), sum(sizes.values()), seconds, full)


def problems(manifest: Manifest, profile: str, sizes: Mapping[str, int]) -> Iterator[str]:
    """Describe each problem that is visible from names and sizes alone.

    `sizes` maps the path of each file in the folder to its size in bytes.
    """
    listed: dict[str, Weight] = {}
    for source in manifest.for_profile(profile):
        weights = manifest.of_source(source.name)
        listed |= {weight.path: weight for weight in weights}
        # Any other source is complete or absent, never partial.
        if source.purpose == "run" or any(weight.path in sizes for weight in weights):
            for weight in weights:
                if weight.path not in sizes:
                    yield f"{weight.path} is missing"
    for path, size_bytes in sorted(sizes.items()):
        if PurePosixPath(path).suffix.lower() in _PICKLE_SUFFIXES:
            yield f"{path} has the suffix of a pickle, which could run code when it is loaded"
        elif path not in listed:
            yield f"{path} is not listed in the lock for profile {profile}"
        elif size_bytes != listed[path].size_bytes:
            yield f"{path} has {size_bytes:,} bytes instead of {listed[path].size_bytes:,}"


def is_pickle(head: bytes, members: Iterable[str] = ()) -> bool:
    """Return whether a file contains a pickle, by its first bytes or the members of a zip.

    Protocols 2 and later start with PROTO and the version (PEP 307, PEP 3154). Older torch files
    use protocol 2; newer torch files are zip files that contain data.pkl. The header of a numpy
    file declares object arrays. Protocols 0 and 1 have no marker, but typical first bytes.
    """
    if len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return True
    if _OLD_PICKLE.match(head):
        return True
    if head.startswith(b"\x93NUMPY") and b"'|O'" in head[:256]:
        return True
    return any(PurePosixPath(member).suffix.lower() in _PICKLE_SUFFIXES for member in members)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex. Releases the GIL between chunks."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_file(folder: Path, weight: Weight, full: bool) -> str:
    """Describe the problem with a file's content; empty if there is none."""
    try:
        return _content_problem(folder / weight.path, weight, full)
    except OSError as problem:
        return f"{weight.path} cannot be read: {problem.strerror}"
    except zipfile.BadZipFile:
        return f"{weight.path} was changed: it starts like a zip file but is not a valid one"


def _content_problem(path: Path, weight: Weight, full: bool) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    members: list[str] = []
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    if is_pickle(head, members):
        return f"{weight.path} is a pickle, which could run code when it is loaded"
    if full and sha256_of(path) != weight.sha256:
        return f"{weight.path} was changed: its sha256 does not match the lock"
    return ""


def _list_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the relative path and size of each file.

    Raises SealBroken for broken links and for links to folders.
    """
    if not folder.is_dir():
        raise SealBroken(what=f"the folder {folder} is missing")
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.exists():
            raise SealBroken(what=f"{path} is a broken link")
        if path.is_symlink() and path.is_dir():
            raise SealBroken(what=f"{path} is a link to a folder, whose files are not verified")
        if not path.is_dir():
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _raise_first(descriptions: Iterable[str]) -> None:
    for description in descriptions:
        raise SealBroken(what=description)
