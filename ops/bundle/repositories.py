"""hub.toml, and what is made of its repositories: the parts of the gpu profile that pip lacks."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from appliance.errors import BadSetting
from appliance.weights.manifest import Manifest, Source
from ops.bundle.hub import COMMIT

LIST = Path(__file__).with_name("hub.toml")
KOKORO = "kokoro-82m-torch"  # as a source; its files lie where Kokoro's always do
KOKORO_FOLDER = "kokoro-82m"
PACKAGER = "made by `python -m ops.bundle weights` from the model hub"
ROLES = ("kokoro", "adapter", "text", "features")


@dataclass(frozen=True, slots=True)
class Repository:
    """A table of hub.toml, which explains the fields."""

    role: str
    repository: str
    revision: str
    files: tuple[str, ...]
    licence: str
    variant: str = ""

    def wants(self, name: str) -> bool:
        """Whether a file may be downloaded. A `*` stays within its folder."""
        parts = PurePosixPath(name).parts
        for pattern in self.files:
            wanted = PurePosixPath(pattern).parts
            if len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted)):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Part:
    """One source of the lock, made of repositories."""

    source: str
    folder: str
    repositories: tuple[Repository, ...]

    def role(self, role: str) -> Repository:
        return next(entry for entry in self.repositories if entry.role == role)

    def described(self, revisions: Mapping[str, str]) -> Source:
        """How it stands in the lock; `revisions` by repository."""
        named = (
            f"{entry.repository} at {revisions[entry.repository][:12]} ({entry.role})"
            for entry in self.repositories
        )
        kokoro = self.source == KOKORO
        return Source(
            name=self.source,
            what="Kokoro-82M for PyTorch, with the English voices"
            if kokoro
            else "Ultravox with its Llama, one folder for vLLM",
            origin=", ".join(named),
            licence=", ".join(
                dict.fromkeys(f"{entry.licence} ({entry.role})" for entry in self.repositories)
            ),
            packager=PACKAGER,
            evidence="The downloads' sha256 are those that the hub showed when it was pinned.",
            profiles=("gpu",),
            purpose="run",
        )


@dataclass(frozen=True, slots=True)
class Shelf:
    """All of hub.toml: the parts that can be made, and which Llama to take for one of them."""

    name: str
    text: str
    repositories: tuple[Repository, ...]

    def variants(self) -> tuple[str, ...]:
        return tuple(entry.variant for entry in self._of("text"))

    def parts(self, manifest: Manifest, text: str = "") -> tuple[Part, ...]:
        """What is to be made: the small part first.

        `text` is the Llama that was asked for; without, it is the one in the lock, or hub.toml's.
        Raises BadSetting when there is none of that name.
        """
        kokoro = tuple(self._of("kokoro"))
        parts = [Part(KOKORO, KOKORO_FOLDER, kokoro)] if kokoro else []
        adapters, features = list(self._of("adapter")), list(self._of("features"))
        if adapters:
            llama = self._text(text or self._locked(manifest) or self.text)
            parts.append(Part(self.name, self.name, (adapters[0], llama, features[0])))
        return tuple(parts)

    def _locked(self, manifest: Manifest) -> str:
        source = manifest.sources.get(self.name)
        origin = source.origin if source else ""
        found = (e.variant for e in self._of("text") if f"{e.repository} " in f"{origin} ")
        return next(found, "")

    def _text(self, variant: str) -> Repository:
        for entry in self._of("text"):
            if entry.variant == variant:
                return entry
        why = f"{variant!r} is none of {', '.join(self.variants())}"
        raise BadSetting(name="--text", why=why)

    def _of(self, role: str) -> Iterator[Repository]:
        return (entry for entry in self.repositories if entry.role == role)


def read(path: Path = LIST) -> Shelf:
    """Reads and checks such a file. Raises BadSetting naming what is wrong with it."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = tree.pop("repository")
        entries = tuple(Repository(**{**table, "files": tuple(table["files"])}) for table in tables)
        shelf = Shelf(**tree, repositories=entries)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BadSetting(name=str(path), why=f"{type(problem).__name__}: {problem}") from problem
    for why in _faults(shelf):
        raise BadSetting(name=str(path), why=why)
    return shelf


def _faults(shelf: Shelf) -> Iterator[str]:
    for entry in shelf.repositories:
        texts = [getattr(entry, field.name) for field in fields(entry) if field.name != "files"]
        if not all(isinstance(text, str) for text in [*texts, *entry.files]):
            yield f"{entry.repository}: something that should be text is not"
        if entry.role not in ROLES:
            yield f"{entry.repository}: role {entry.role!r} is none of {', '.join(ROLES)}"
        if entry.revision and not COMMIT.fullmatch(entry.revision):
            yield f"{entry.repository}: {entry.revision!r} is no commit hash of 40 digits"
        if (entry.role == "text") != bool(entry.variant):
            yield f"{entry.repository}: a text, and only that, has a variant"
    known = [(entry.role, entry.variant) for entry in shelf.repositories]
    if len(set(known)) != len(known):
        yield "two repositories have the same role and variant"
    roles = {role for role, _ in known} - {"kokoro"}
    if roles and roles != set(ROLES) - {"kokoro"}:
        yield "adapter, text and features belong together"
