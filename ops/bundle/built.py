"""The lock's account of a folder that was built here: its files, and what they were made of.

What a person downloaded is listed under `packages` with the registry `hub`: nobody fetches it,
but its sha256 can be compared with the one that the hub shows.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from appliance.errors import BadSetting
from appliance.weights.manifest import HANDED_OVER, Manifest, Package, Source, Weight, render
from appliance.weights.seal import sha256_of
from ops.bundle.shards import Written

ORIGIN = (
    "fixie-ai/ultravox-v0_5-llama-3_1-8b (adapter), meta-llama/Llama-3.1-8B-Instruct (language "
    "model), openai/whisper-large-v3-turbo (mel settings)"
)
LICENCE = "MIT (Ultravox, Whisper), Llama 3.1 Community License (language model)"
_ATTRIBUTION = (  # section 1.b.iii of that licence wants it in a NOTICE file
    "Llama 3.1 is licensed under the Llama 3.1 Community License, "
    "Copyright © Meta Platforms, Inc. All Rights Reserved."
)


def notice(origin: str, licence: str) -> str:
    """The text of the NOTICE file that goes with the weights."""
    text = f"Origin: {origin}\nLicence: {licence}\n"
    return text + (f"\n{_ATTRIBUTION}\n" if "Llama 3.1" in licence else "")


def check_name(manifest: Manifest, name: str) -> None:
    """Raises BadSetting when a folder of this name cannot be built, or is not ours to replace."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise BadSetting(name="--name", why=f"{name!r} is no plain name of a folder")
    if name in manifest.sources and not manifest.is_built(name):
        raise BadSetting(name="--name", why=f"{name!r} is a source that was not built here")
    for weight in manifest.weights:
        if weight.path.startswith(f"{name}/") and weight.source != name:
            raise BadSetting(name="--name", why=f"{weight.path} belongs to {weight.source}")


def listed(
    manifest: Manifest,
    source: Source,
    key: Callable[[Path], str],
    written: Iterable[Written],
    folder: str = "",
) -> Manifest:
    """The lock with this source in place of one of the same name; reads and hashes the inputs.

    `key` says how an input is called, as Inputs.key; `folder` is where the files lie below the
    weights, unless it is called as the source.
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
            parts=tuple(f"{packages[path].key}:{how}" for path, how in file.made_of),
        )
        for file in written
    )
    rest = without(manifest, source.name)
    return dataclasses.replace(
        rest,
        sources={**rest.sources, source.name: source},
        packages={**rest.packages, **{entry.key: entry for entry in packages.values()}},
        weights=rest.weights + weights,
    )


def without(manifest: Manifest, source: str) -> Manifest:
    """The lock without this source, its files, and the packages that only they came from."""
    weights = tuple(weight for weight in manifest.weights if weight.source != source)
    return _narrowed(manifest, {n: s for n, s in manifest.sources.items() if n != source}, weights)


def kept(old: Manifest, new: Manifest) -> Manifest:
    """A new lock, with the sources of the old one that were built here and are not in the new."""
    names = {name for name in old.sources if old.is_built(name) and name not in new.sources}
    weights = tuple(weight for weight in old.weights if weight.source in names)
    built = _narrowed(old, {name: old.sources[name] for name in names}, weights)
    return dataclasses.replace(
        new,
        sources={**new.sources, **built.sources},
        packages={**new.packages, **built.packages},
        weights=new.weights + built.weights,
    )


def save(manifest: Manifest, lock: Path) -> None:
    """Writes the lock so that it is never seen in part."""
    partial = lock.with_name(f".{lock.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(render(manifest))
        out.flush()
        os.fsync(out.fileno())
    partial.rename(lock)


def _narrowed(
    manifest: Manifest, sources: Mapping[str, Source], weights: tuple[Weight, ...]
) -> Manifest:
    needed = {key for weight in weights for key in weight.packages}
    packages = {key: entry for key, entry in manifest.packages.items() if key in needed}
    return dataclasses.replace(manifest, sources=sources, packages=packages, weights=weights)


def package_key(source: str, key: str, sha256: str) -> str:
    """NAME==VERSION of an input."""
    return f"{source}/{key}=={sha256[:12]}"


def _package(source: str, key: str, path: Path) -> Package:
    sha256 = sha256_of(path)
    key = package_key(source, key, sha256)
    return Package(key, HANDED_OVER, path.name, path.stat().st_size, sha256)
