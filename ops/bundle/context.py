"""Lays out what the Dockerfile copies: sealed files by layer, one profile's locks, our code.

A Dockerfile cannot loop, so the files of a profile are sorted into numbered folders, one per layer.
A layer's content, and so its digest, depends only on the files in it: a file that did not change
travels no second time, whatever its folder's number.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from appliance.errors import SealBroken
from appliance.weights import manifest as locks
from appliance.weights.manifest import Manifest, Source, Weight
from appliance.weights.seal import replaced, sha256_of

LAYERS = 10  # as many as the Dockerfile copies
LARGE_BYTES = 256_000_000  # from here on a file has a layer to itself
CONNECTED_SIDE_ONLY = frozenset({"bundle"})  # parts of `appliance` with nothing to do in the image


def layout(weights: Iterable[Weight]) -> list[list[Weight]]:
    """Files by layer: a large one alone, the small ones of a source together; largest first.

    What lies lowest is shipped again least often, and a change of what is small above it leaves it
    in place even where an engine reuses layers only from the bottom up. What exceeds the number of
    layers shares the last one.
    """
    groups: dict[str, list[Weight]] = {}
    for weight in sorted(weights, key=lambda weight: weight.path):
        alone = weight.size_bytes >= LARGE_BYTES
        groups.setdefault(weight.path if alone else weight.source, []).append(weight)
    ordered = sorted(groups.values(), key=lambda group: (-size_bytes(group), group[0].path))
    rest = [weight for group in ordered[LAYERS - 1 :] for weight in group]
    return ordered[: LAYERS - 1] + ([rest] if rest else [])


def size_bytes(weights: Sequence[Weight]) -> int:
    """What the files add up to."""
    return sum(weight.size_bytes for weight in weights)


def chosen(manifest: Manifest, profile: str, there: Iterable[str], slim: bool) -> list[Source]:
    """The sources that go into the image: what runs, and a fallback only in place of its model.

    `there` are the paths at hand; `slim` prefers fallbacks.
    """
    sources = manifest.for_profile(profile)
    stand_ins = {source.stands_in_for for source in sources if source.purpose == "fallback"}
    out = stand_ins if slim else set(replaced(manifest, profile, there))
    return [
        source
        for source in sources
        if (source.purpose == "run" and source.name not in out)
        or (source.purpose == "fallback" and source.stands_in_for in out)
    ]


def stage(root: Path, weights: Path, profile: str, into: Path, slim: bool = False) -> Manifest:
    """Makes the build context anew and returns the lock that lies in it.

    Every file is hashed on its way. Raises SealBroken naming the first that is not as sealed, and
    BadLock.
    """
    manifest = locks.read(root / "image-manifest.lock")
    shutil.rmtree(into, ignore_errors=True)
    there = [weight.path for weight in manifest.weights if (weights / weight.path).is_file()]
    sources = chosen(manifest, profile, there, slim)
    files = [weight for source in sources for weight in manifest.of_source(source.name)]
    for number in range(LAYERS):
        (into / f"weights-{number:02}").mkdir(parents=True)
    for number, group in enumerate(layout(files)):
        for weight in group:
            _place(weights / weight.path, into / f"weights-{number:02}" / weight.path)
            _check(into / f"weights-{number:02}" / weight.path, weight)
    requirements = into / "requirements"
    requirements.mkdir()
    for lock in sorted((root / "requirements").glob(f"{profile}*.txt")):
        _copy(lock, requirements / lock.name)
    wheels = {lock.name: sha256_of(lock) for lock in sorted(requirements.iterdir())}
    inside = replace(manifest, sealed={**manifest.sealed, "wheels": wheels})
    _code(root, into / "code")
    (into / "code/image-manifest.lock").write_text(locks.render(inside), encoding="utf-8")
    _copy(root / "Dockerfile", into / "Dockerfile")
    _set_modes(into)
    return inside


def contents(context: Path) -> Mapping[str, str]:
    """What each weights folder of a context holds, in words for a list of layers."""
    told = {}
    for folder in sorted(context.glob("weights-*")):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        models = sorted({path.relative_to(folder).parts[0] for path in files})
        told[folder.name] = ", ".join(models) if files else ""
    return told


def _code(root: Path, into: Path) -> None:
    skipped = CONNECTED_SIDE_ONLY | {"__pycache__"}
    # The acceptance calls the appliance as its users do: with the client's modules, not its files.
    for path in sorted([*(root / "appliance").rglob("*"), *(root / "client").rglob("*.py")]):
        inside = path.relative_to(root)
        if path.is_file() and not skipped & set(inside.parts):
            _copy(path, into / inside)
    _metadata(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")), into)


def _metadata(project: Mapping[str, object], into: Path) -> None:
    """What an installation would leave of us: vLLM finds our processor by its entry point."""
    about = project["project"]
    assert isinstance(about, dict)
    folder = into / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    folder.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (folder / "METADATA").write_text(head, encoding="utf-8")
    lines = []
    for group, entries in about.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _place(path: Path, target: Path) -> None:
    """A second name for a file of gigabytes, or a copy where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = path.resolve()
    try:
        if source.stat().st_mode & 0o777 == 0o644:
            os.link(source, target)
            return
    except OSError:
        pass  # Another file system, or missing: the copy says which.
    if not source.is_file():
        raise SealBroken(what=f"{path} is missing")
    _copy(source, target)


def _check(path: Path, weight: Weight) -> None:
    if path.stat().st_size != weight.size_bytes or sha256_of(path) != weight.sha256:
        raise SealBroken(what=f"{weight.path} was changed: its sha256 is not the sealed one")


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _set_modes(folder: Path) -> None:
    """The same modes whatever the umask; COPY keeps them."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
