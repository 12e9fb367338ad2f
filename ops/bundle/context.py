"""Lay out the build context of the image: sealed files by layer, the profile's locks, our code.

A Dockerfile has no loops, so the files of a profile are distributed over a fixed number of folders,
one per layer. The digest of a layer depends only on the files in it, not on the number of the
folder, so unchanged files are not shipped again.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from appliance import settings
from appliance.errors import BadSetting, SealBroken
from appliance.weights import choices
from appliance.weights import manifest as locks
from appliance.weights.choices import LLM_MODEL
from appliance.weights.manifest import Manifest, Source, Weight
from appliance.weights.seal import sha256_of
from ops.bundle.lock_edits import remove_source

LAYERS = 10  # the number of weights folders that the Dockerfile copies
LARGE_BYTES = 256_000_000  # a file of this size or more has its own layer


def layout(weights: Iterable[Weight]) -> list[list[Weight]]:
    """Group files into layers: a large file alone, the small ones of a source together.

    The largest layers come first. An engine may reuse layers only from the bottom up, so files that
    are costly to ship are in the lower layers. Groups beyond LAYERS share the last layer.
    """
    groups: dict[str, list[Weight]] = {}
    for weight in sorted(weights, key=lambda weight: weight.path):
        is_large = weight.size_bytes >= LARGE_BYTES
        groups.setdefault(weight.path if is_large else weight.source, []).append(weight)
    ordered = sorted(groups.values(), key=lambda group: (-total_bytes(group), group[0].path))
    rest = [weight for group in ordered[LAYERS - 1 :] for weight in group]
    return ordered[: LAYERS - 1] + ([rest] if rest else [])


def total_bytes(weights: Sequence[Weight]) -> int:
    """Return the total size of the files."""
    return sum(weight.size_bytes for weight in weights)


def image_sources(manifest: Manifest, profile: str) -> list[Source]:
    """Return the sources that the profile needs at run time; the image contains only these."""
    return [source for source in manifest.for_profile(profile) if source.purpose == "run"]


def image_lock(manifest: Manifest, profile: str, model: str) -> Manifest:
    """Return the lock for an image with this language model, without the models it replaces.

    Raises BadSetting if the lock has no such model for the profile.
    """
    available = choices.choices(manifest, profile, LLM_MODEL)
    if not available:
        folders = {choices.folder_of(manifest, each) for each in image_sources(manifest, profile)}
        if model not in folders:
            why = f"there is no model {model!r}; the folders are {', '.join(sorted(folders))}"
            raise BadSetting(name=settings.variable(LLM_MODEL), why=why)
    manifest = choices.choose(manifest, profile, {LLM_MODEL: model})
    for folder, source in available.items():
        if folder != model:
            manifest = remove_source(manifest, source.name)
    return manifest


def stage(root: Path, weights: Path, profile: str, context: Path, model: str = "") -> Manifest:
    """Create the build context, or replace it; return the lock that it contains.

    model  folder of the language model of the image; default: that of the profile. The image has
           no other choice, and its Dockerfile sets VOICE_LLM_MODEL to this name.

    Every model file is hashed. Raises BadLock, BadSetting for an unknown model, and SealBroken
    naming the first file that is missing or differs from the lock.
    """
    manifest = locks.read(root / "image-manifest.lock")
    is_chosen = bool(model)
    model = model or settings.load({"VOICE_PROFILE": profile}).llm.model
    if is_chosen or choices.choices(manifest, profile, LLM_MODEL):
        manifest = image_lock(manifest, profile, model)
    shutil.rmtree(context, ignore_errors=True)
    sources = image_sources(manifest, profile)
    files = [weight for source in sources for weight in manifest.of_source(source.name)]
    folders = [context / f"weights-{number:02}" for number in range(LAYERS)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder, group in zip(folders, layout(files), strict=False):  # some folders stay empty
        for weight in group:
            _link_or_copy(weights / weight.path, folder / weight.path)
            _check(folder / weight.path, weight)
    requirements = context / "requirements"
    requirements.mkdir()
    for lock in sorted((root / "requirements").glob(f"{profile}*.txt")):
        _copy(lock, requirements / lock.name)
    wheels = {lock.name: sha256_of(lock) for lock in sorted(requirements.iterdir())}
    image_manifest = replace(manifest, extra={**manifest.extra, "wheels": wheels})
    _copy_code(root, context / "code")
    lock_text = locks.render(image_manifest)
    (context / "code/image-manifest.lock").write_text(lock_text, encoding="utf-8")
    dockerfile = (root / "Dockerfile").read_text(encoding="utf-8")
    (context / "Dockerfile").write_text(
        dockerfile.replace("ARG MODEL\n", f"ARG MODEL={model}\n"), encoding="utf-8"
    )
    _set_modes(context)
    return image_manifest


def layer_contents(context: Path) -> Mapping[str, str]:
    """Map each weights folder of a context to its models, separated by commas."""
    contents = {}
    for folder in sorted(context.glob("weights-*")):
        files = (path for path in folder.rglob("*") if path.is_file())
        models = {path.relative_to(folder).parts[0] for path in files}
        contents[folder.name] = ", ".join(sorted(models))
    return contents


def _copy_code(root: Path, target: Path) -> None:
    # The acceptance test uses the client's modules. The client's other files are not copied.
    for path in sorted([*(root / "appliance").rglob("*"), *(root / "client").rglob("*.py")]):
        name = path.relative_to(root)
        if path.is_file() and "__pycache__" not in name.parts:
            _copy(path, target / name)
    write_metadata(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")), target)


def write_metadata(pyproject: Mapping[str, object], target: Path) -> None:
    """Write the .dist-info of an installed package: vLLM finds our plugin by its entry point."""
    project = pyproject["project"]
    assert isinstance(project, dict)
    folder = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, entries in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _link_or_copy(path: Path, target: Path) -> None:
    """Hard-link a file, which may be gigabytes large; copy it if linking is not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = path.resolve()
    try:
        if source.stat().st_mode & 0o777 == 0o644:
            os.link(source, target)
            return
    except OSError:
        pass  # on another file system, or missing
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
    """Set modes that do not depend on the umask; COPY keeps them."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
