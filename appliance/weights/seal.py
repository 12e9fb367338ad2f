"""Is what lies here what was sealed? Every listed file, no other, no changed byte, no pickle.

`verify` reads; what it decides is in the pure functions below it. In the image it runs before
anything else starts.
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

# Endings that loaders unpickle. `.bin` is not among them: voices and spaCy's tables use it too,
# and it is judged by content.
_PICKLE_ENDINGS = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})

# How pickles of protocols 0 and 1 begin: a container and its memo, or a global and what uses it.
_OLD_PICKLE = re.compile(
    rb"\((?:l|d|t)p\d+\n|[\]}]q.|\(+[ld]q.|\(*c[\w.]+\n[\w.]+\n(?:\(|\)|q.|p\d+\n)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified, and how fast. `stand_ins` are the sources a fallback replaces."""

    files: int
    size_bytes: int
    seconds: float
    full: bool
    stand_ins: tuple[str, ...]

    def __str__(self) -> str:
        how = "every byte read" if self.full else "sizes and names only"
        speed = self.size_bytes / max(self.seconds, 1e-9) / 1e9
        text = f"seal intact: {self.files} files, {self.size_bytes / 1e6:,.0f} MB, {how}"
        text += f" in {self.seconds:.2f} s" + (f" ({speed:.1f} GB/s)" if self.full else "")
        return text + "".join(f"; {name} is replaced by its fallback" for name in self.stand_ins)


def verify(folder: Path, manifest: Manifest, profile: str, full: bool = True) -> Report:
    """Compares `folder` with the manifest; `full` reads and hashes every file.

    Raises SealBroken naming the first file that is wrong, and why.
    """
    began = time.monotonic()
    found = dict(_files(folder))
    stand_ins = replaced(manifest, profile, found.keys())
    expected = {
        weight.path: weight
        for source in manifest.for_profile(profile)
        for weight in manifest.of_source(source.name)
    }
    _stop_at_first(problems(manifest, profile, found, stand_ins))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # The longest first, so that no thread is left alone with it at the end.
        paths = sorted(found, key=found.__getitem__, reverse=True)
        _stop_at_first(
            problem
            for problem in pool.map(lambda path: _look(folder, expected[path], full), paths)
            if problem
        )
    seconds = time.monotonic() - began
    return Report(len(found), sum(found.values()), seconds, full, stand_ins)


def replaced(manifest: Manifest, profile: str, found: Iterable[str]) -> tuple[str, ...]:
    """The sources of which nothing is there while their fallback is there as a whole."""
    there = set(found)

    def names(source: str) -> set[str]:
        return {weight.path for weight in manifest.of_source(source)}

    return tuple(
        source.stands_in_for
        for source in manifest.for_profile(profile)
        if source.purpose == "fallback"
        and names(source.name) <= there
        and not names(source.stands_in_for) & there
    )


def problems(
    manifest: Manifest, profile: str, found: Mapping[str, int], stand_ins: Iterable[str]
) -> Iterator[str]:
    """What is wrong with the files found (path -> size in bytes) by names and sizes alone."""
    listed: dict[str, Weight] = {}
    for source in manifest.for_profile(profile):
        weights = manifest.of_source(source.name)
        listed |= {weight.path: weight for weight in weights}
        is_needed = source.purpose == "run" and source.name not in stand_ins
        # What an installation need not have, it must not have in part.
        if is_needed or any(weight.path in found for weight in weights):
            for weight in weights:
                if weight.path not in found:
                    yield f"{weight.path} is missing"
    for path, size_bytes in sorted(found.items()):
        if PurePosixPath(path).suffix.lower() in _PICKLE_ENDINGS:
            yield f"{path} has the ending of a pickle, which could run code when it is loaded"
        elif path not in listed:
            yield f"{path} is not listed in the lock for profile {profile}"
        elif size_bytes != listed[path].size_bytes:
            yield f"{path} has {size_bytes:,} bytes in place of {listed[path].size_bytes:,}"


def is_pickle(head: bytes, names: Iterable[str] = ()) -> bool:
    """Whether a file with these first bytes, or a zip with these members, holds a pickle.

    Protocol 2 and newer open with PROTO and the version (PEP 307, PEP 3154), torch's older files
    with protocol 2 as well, its newer ones are zips with a data.pkl, and numpy's object arrays say
    so in their header. Protocols 0 and 1 have no mark; how they usually begin gives them away.
    """
    if len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return True
    if _OLD_PICKLE.match(head):
        return True
    if head.startswith(b"\x93NUMPY") and b"'|O'" in head[:256]:
        return True
    return any(PurePosixPath(name).suffix.lower() in _PICKLE_ENDINGS for name in names)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex; reads it in pieces and lets other threads run meanwhile."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _look(folder: Path, weight: Weight, full: bool) -> str:
    try:
        return _problem(folder / weight.path, weight, full)
    except OSError as problem:
        return f"{weight.path} cannot be read: {problem.strerror}"
    except zipfile.BadZipFile:
        return f"{weight.path} was changed: it begins as a zip and is none"


def _problem(path: Path, weight: Weight, full: bool) -> str:
    with path.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
    names: list[str] = []
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if is_pickle(head, names):
        return f"{weight.path} is a pickle, which could run code when it is loaded"
    if full and sha256_of(path) != weight.sha256:
        return f"{weight.path} was changed: its sha256 is not the sealed one"
    return ""


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    if not folder.is_dir():
        raise SealBroken(what=f"the folder {folder} is missing")
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.exists():
            raise SealBroken(what=f"{path} is a link to nothing")
        if path.is_symlink() and path.is_dir():
            raise SealBroken(what=f"{path} is a link to a folder, which nobody looked into")
        if not path.is_dir():
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _stop_at_first(found: Iterable[str]) -> None:
    for problem in found:
        raise SealBroken(what=problem)
