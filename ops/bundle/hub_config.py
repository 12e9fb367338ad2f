"""Read hub.toml: repositories of the model hub, and the model folders to build from them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from appliance.errors import BadSetting
from appliance.weights.choices import LLM_MODEL
from appliance.weights.manifest import Manifest, Source
from ops.bundle.hub import COMMIT

HUB_TOML = Path(__file__).with_name("hub.toml")
KOKORO = "kokoro-82m-torch"  # name of the source
KOKORO_FOLDER = "kokoro-82m"  # where both profiles have Kokoro's files
PACKAGER = "made by `python -m ops.bundle weights` from the model hub"
ROLES = ("kokoro", "adapter", "text", "features")


@dataclass(frozen=True, slots=True)
class Repository:
    """A `[[repository]]` table of hub.toml, which explains the fields."""

    role: str
    repository: str
    revision: str
    files: tuple[str, ...]
    licence: str
    variant: str = ""

    def wants(self, name: str) -> bool:
        """Whether a file may be downloaded. A `*` does not match across folders."""
        parts = PurePosixPath(name).parts
        for pattern in self.files:
            patterns = PurePosixPath(pattern).parts
            if len(patterns) == len(parts) and all(map(fnmatchcase, parts, patterns)):
                return True
        return False


@dataclass(frozen=True, slots=True)
class HubSource:
    """A source of the lock that is built from repositories of the hub."""

    name: str
    folder: str
    repositories: tuple[Repository, ...]

    def role(self, role: str) -> Repository:
        return next(entry for entry in self.repositories if entry.role == role)

    def lock_source(self, revisions: Mapping[str, str]) -> Source:
        """Build the entry of the lock. `revisions`: commit hashes by repository."""
        origins = (
            f"{entry.repository} at {revisions[entry.repository][:12]} ({entry.role})"
            for entry in self.repositories
        )
        licences = dict.fromkeys(f"{entry.licence} ({entry.role})" for entry in self.repositories)
        is_kokoro = self.name == KOKORO
        return Source(
            name=self.name,
            what="Kokoro-82M for PyTorch, with the English voices"
            if is_kokoro
            else "Ultravox with its Llama, one folder for vLLM",
            origin=", ".join(origins),
            licence=", ".join(licences),
            packager=PACKAGER,
            evidence="SHA-256 of the downloads as the hub showed them when they were pinned.",
            profiles=("gpu",),
            purpose="run",
            setting="" if is_kokoro else LLM_MODEL,
        )


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The content of hub.toml.

    name    name of the folder that is built from adapter, text and features
    text    the default variant of the Llama
    """

    name: str
    text: str
    repositories: tuple[Repository, ...]

    def variants(self) -> tuple[str, ...]:
        """Return the names of the Llamas to choose from."""
        return tuple(entry.variant for entry in self._with_role("text"))

    def sources(self, manifest: Manifest, text: str = "") -> tuple[HubSource, ...]:
        """Return the sources to build, the smaller one first.

        `text` is the variant of the Llama. By default it is the one in the lock, or if the lock has
        none, the one in hub.toml.
        Raises BadSetting for an unknown variant.
        """
        kokoro = tuple(self._with_role("kokoro"))
        sources = [HubSource(KOKORO, KOKORO_FOLDER, kokoro)] if kokoro else []
        adapters, features = list(self._with_role("adapter")), list(self._with_role("features"))
        if adapters:
            llama = self._find_text(text or self._locked_variant(manifest) or self.text)
            sources.append(HubSource(self.name, self.name, (adapters[0], llama, features[0])))
        return tuple(sources)

    def _locked_variant(self, manifest: Manifest) -> str:
        source = manifest.sources.get(self.name)
        origin = f"{source.origin} " if source else ""
        texts = self._with_role("text")
        return next((entry.variant for entry in texts if f"{entry.repository} " in origin), "")

    def _find_text(self, variant: str) -> Repository:
        for entry in self._with_role("text"):
            if entry.variant == variant:
                return entry
        why = f"{variant!r} is not one of {', '.join(self.variants())}"
        raise BadSetting(name="--text", why=why)

    def _with_role(self, role: str) -> Iterator[Repository]:
        return (entry for entry in self.repositories if entry.role == role)


def read_config(path: Path = HUB_TOML) -> HubConfig:
    """Read and check a hub.toml. Raises BadSetting with the first error."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = tree.pop("repository")
        entries = tuple(Repository(**{**table, "files": tuple(table["files"])}) for table in tables)
        config = HubConfig(**tree, repositories=entries)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadSetting(name=str(path), why=f"{type(problem).__name__}: {problem}") from problem
    for fault in _faults(config):
        raise BadSetting(name=str(path), why=fault)
    return config


def _faults(config: HubConfig) -> Iterator[str]:
    for entry in config.repositories:
        texts = [getattr(entry, field.name) for field in fields(entry) if field.name != "files"]
        if not all(isinstance(text, str) for text in [*texts, *entry.files]):
            yield f"{entry.repository}: every value must be text"
        if entry.role not in ROLES:
            yield f"{entry.repository}: role {entry.role!r} is not one of {', '.join(ROLES)}"
        if entry.revision and not COMMIT.fullmatch(entry.revision):
            yield f"{entry.repository}: {entry.revision!r} is not a commit hash of 40 digits"
        if (entry.role == "text") != bool(entry.variant):
            yield f"{entry.repository}: role text requires a variant, other roles must not have one"
    keys = [(entry.role, entry.variant) for entry in config.repositories]
    if len(set(keys)) != len(keys):
        yield "two repositories have the same role and variant"
    roles = {role for role, _ in keys} - {"kokoro"}
    if roles and roles != set(ROLES) - {"kokoro"}:
        yield "adapter, text and features are needed together"
