"""Carries large files to a machine that is reached only by transfers of limited size.

`pack` splits files into parcels, one per transfer; `receive` joins whatever has arrived so far. A
parcel is a folder: parts of files, and `index.json` with the sizes and hashes of all files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
PARCEL_BYTES = 62 * MIB
INDEX = "index.json"
WHEELS = "wheels"  # folder of Python packages at the receiver
SITE = "site"  # where they are installed
_READ_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """A file and where it belongs, relative to the receiver's folder."""

    path: str
    source: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `end` of a file."""

    file: CarriedFile
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    @property
    def name(self) -> str:
        """Of the part in its parcel: readable, and unique by offset."""
        return f"{self.file.path.replace('/', '+')}@{self.start}"


def plan(
    files: Sequence[CarriedFile], first_bytes: int = PARCEL_BYTES, limit_bytes: int = PARCEL_BYTES
) -> list[list[Part]]:
    """Fill one parcel after the other, in the order of the files.

    first_bytes   room in the first parcel, which travels with the checkout
    """
    parcels: list[list[Part]] = [[]]
    room = first_bytes
    for file in files:
        start = 0
        while True:
            end = min(file.size_bytes, start + room)
            if end > start or not file.size_bytes:
                parcels[-1].append(Part(file, start, end))
            room -= end - start
            start = end
            if start >= file.size_bytes:
                break
            parcels.append([])
            room = limit_bytes
    return [parcel for parcel in parcels if parcel]


def write(parcels: Sequence[Sequence[Part]], folder: Path) -> list[Path]:
    """Write each parcel to a folder of its own, `call-01` and so on; return the folders."""
    folders = []
    hashes: dict[str, str] = {}
    for part in (part for parcel in parcels for part in parcel):
        if part.file.path not in hashes:
            hashes[part.file.path] = sha256_of(part.file.source)
    for number, parcel in enumerate(parcels, 1):
        target = folder / f"call-{number:02}"
        target.mkdir(parents=True)
        index = {
            part.file.path: {
                "size_bytes": part.file.size_bytes,
                "sha256": hashes[part.file.path],
            }
            for part in parcel
        }
        (target / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
        for part in parcel:
            with part.file.source.open("rb") as source, (target / part.name).open("wb") as out:
                source.seek(part.start)
                left = part.size_bytes
                while left:
                    block = source.read(min(_READ_BYTES, left))
                    out.write(block)
                    left -= len(block)
        folders.append(target)
    return folders


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What `receive` found: complete files, and the bytes that are missing of the others."""

    complete: tuple[str, ...]
    missing_bytes: Mapping[str, int]


def receive(parcel: Path, target: Path) -> Arrivals:
    """Take over a parcel and join every file whose parts are all there.

    Files go to `target`; parts wait in `target/.parts`. Raises ValueError for a damaged file.
    """
    waiting = target / ".parts"
    waiting.mkdir(parents=True, exist_ok=True)
    for path in parcel.iterdir():
        if path.name != INDEX:
            shutil.copy(path, waiting / path.name)
    index_path = waiting / INDEX
    index = json.loads(index_path.read_text("utf-8")) if index_path.exists() else {}
    index |= json.loads((parcel / INDEX).read_text(encoding="utf-8"))
    index_path.write_text(json.dumps(index), encoding="utf-8")
    complete, missing = [], {}
    for name, facts in index.items():
        path = target / name
        if not path.exists():
            parts = _parts_of(name, waiting)
            left = facts["size_bytes"] - sum(part.stat().st_size for part in parts)
            if left:
                missing[name] = left
                continue
            _join(parts, path, facts["sha256"])
        complete.append(name)
    return Arrivals(tuple(complete), missing)


def _parts_of(name: str, waiting: Path) -> list[Path]:
    prefix = name.replace("/", "+") + "@"
    parts = [path for path in waiting.iterdir() if path.name.startswith(prefix)]
    return sorted(parts, key=lambda path: int(path.name.removeprefix(prefix)))


def _join(parts: Sequence[Path], path: Path, sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, _READ_BYTES)
    if sha256_of(partial) != sha256:
        partial.unlink()
        raise ValueError(f"{path.name} was damaged on its way; send its parcels again")
    partial.replace(path)
    for part in parts:
        part.unlink()


def sha256_of(path: Path) -> str:
    """Of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(parcels: Sequence[Sequence[Part]], checkout_bytes: int) -> list[str]:
    """A line for each transfer: its number, its bytes and what is in it."""
    lines = []
    for number, parcel in enumerate(parcels, 1):
        size = sum(part.size_bytes for part in parcel)
        size += checkout_bytes if number == 1 else 0
        contents = ["the checkout"] if number == 1 else []
        contents += _summarise(parcel)
        lines.append(f"call {number:2}: {size:>12,} bytes  {', '.join(contents)}")
    total = sum(part.size_bytes for parcel in parcels for part in parcel)
    lines.append(f"all     : {total + checkout_bytes:>12,} bytes in {len(parcels)} calls")
    return lines


def _summarise(parcel: Sequence[Part]) -> Iterable[str]:
    small = [part for part in parcel if part.file.size_bytes < MIB]
    for part in parcel:
        if part not in small:
            whole = part.size_bytes == part.file.size_bytes
            name = part.file.path.rpartition("/")[2]
            yield name if whole else f"bytes {part.start:,} to {part.end:,} of {name}"
    if small:
        yield f"{len(small)} small files"
