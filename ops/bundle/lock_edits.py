"""Add locally built model folders to the lock file, or remove them from it.

The inputs of such a folder are listed under `packages` with the registry `hub`. `fetch` never
downloads them, but their sha256 can be compared with the one that the hub shows.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from appliance.errors import BadSetting
from appliance.weights.manifest import HUB, Manifest, Package, Source, Weight, render
from appliance.weights.seal import sha256_of
from ops.bundle.shards import WrittenFile

ORIGIN = (
    "fixie-ai/ultravox-v0_5-llama-3_1-8b (adapter), meta-llama/Llama-3.1-8B-Instruct (language "
    "model), openai/whisper-large-v3-turbo (mel settings)"
)
LICENCE = "MIT (Ultravox, Whisper), Llama 3.1 Community License (language model)"
_ATTRIBUTION = (  # required in a NOTICE file by section 1.b.iii of that licence
    "Llama 3.1 is licensed under the Llama 3.1 Community License, "
    "Copyright © Meta Platforms, Inc. All Rights Reserved."
)


def notice_text(origin: str, licence: str) -> str:
    """Return the text of the NOTICE file that accompanies the weights."""
    text = f"Origin: {origin}\nLicence: {licence}\n"
    return text + (f"\n{_ATTRIBUTION}\n" if "Llama 3.1" in licence else "")


def check_name(manifest: Manifest, name: str) -> None:
    """Raise BadSetting if `name` is not a valid folder name or is used by another source."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise BadSetting(name="--name", why=f"{name!r} is not a plain folder name")
    if name in manifest.sources and not manifest.is_built(name):
        raise BadSetting(name="--name", why=f"{name!r} is a source that was not built here")
    for weight in manifest.weights:
        if weight.path.startswith(f"{name}/") and weight.source != name:
            raise BadSetting(name="--name", why=f"{weight.path} belongs to {weight.source}")


def add_source(
    manifest: Manifest,
    source: Source,
    key: Callable[[Path], str],
    written: Iterable[WrittenFile],
    folder: str = "",
) -> Manifest:
    """Return the lock with a built source, replacing one of the same name. Hashes the inputs.

    key     returns the name of an input in the lock, such as UltravoxInputs.key
    folder  folder of the files, below the weights folder; default: the name of the source
    """
    written = tuple(written)
    paths = dict.fromkeys(path for file in written for path, _ in file.made_of)
    packages = {path: _package(source.name, key(path), path) for path in paths}
    weights = tuple(
        Weight(
            path=f"{folder or source.name}/{file.name}",
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            source=source.name,
            parts=tuple(f"{packages[path].key}:{used_part}" for path, used_part in file.made_of),
        )
        for file in written
    )
    others = remove_source(manifest, source.name)
    return dataclasses.replace(
        others,
        sources={**others.sources, source.name: source},
        packages={**others.packages, **{entry.key: entry for entry in packages.values()}},
        weights=others.weights + weights,
    )


def remove_source(manifest: Manifest, source: str) -> Manifest:
    """Return the lock without a source, its files, and packages that only this source needs."""
    weights = tuple(weight for weight in manifest.weights if weight.source != source)
    sources = {name: entry for name, entry in manifest.sources.items() if name != source}
    return _select(manifest, sources, weights)


def remove_built(manifest: Manifest) -> Manifest:
    """Return the lock without the sources that were built from files downloaded from the hub."""
    for name in [name for name in manifest.sources if manifest.is_built(name)]:
        manifest = remove_source(manifest, name)
    return manifest


def keep_built(old: Manifest, new: Manifest) -> Manifest:
    """Return `new` plus the built sources of `old` that are missing from it."""
    names = {name for name in old.sources if old.is_built(name) and name not in new.sources}
    weights = tuple(weight for weight in old.weights if weight.source in names)
    built = _select(old, {name: old.sources[name] for name in names}, weights)
    return dataclasses.replace(
        new,
        sources={**new.sources, **built.sources},
        packages={**new.packages, **built.packages},
        weights=new.weights + built.weights,
    )


def save(manifest: Manifest, lock: Path) -> None:
    """Write the lock atomically."""
    partial = lock.with_name(f".{lock.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(render(manifest))
        out.flush()
        os.fsync(out.fileno())
    partial.rename(lock)


def _select(
    manifest: Manifest, sources: Mapping[str, Source], weights: tuple[Weight, ...]
) -> Manifest:
    needed = {key for weight in weights for key in weight.packages}
    packages = {key: entry for key, entry in manifest.packages.items() if key in needed}
    return dataclasses.replace(manifest, sources=sources, packages=packages, weights=weights)


def package_key(source: str, key: str, sha256: str) -> str:
    """Return NAME==VERSION of an input."""
    return f"{source}/{key}=={sha256[:12]}"


def _package(source: str, key: str, path: Path) -> Package:
    sha256 = sha256_of(path)
    key = package_key(source, key, sha256)
    return Package(key, HUB, path.name, path.stat().st_size, sha256)
