"""Small real packages, made on the spot: wheels and an npm package with a model's parts inside."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import PackageUnavailable
from appliance.weights.manifest import Manifest, Package, Source, Weight

BIG = bytes(range(256)) * 9000  # crosses the chunks in which files are read
SMALL = b"a smaller model"
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


def source(name: str, purpose: str = "run", stands_in_for: str = "") -> Source:
    texts = ("a model", "its maker", "MIT", "a packager", "made here")
    return Source(name, *texts, ("cpu",), purpose, stands_in_for)


def weight(path: str, content: bytes, of: str, *parts: str) -> Weight:
    return Weight(path, len(content), sha256(content), of, parts)


@dataclass
class Registry:
    """Hands out the files of a folder and counts; refuses the packages in `gone`."""

    folder: Path
    gone: set[str] = field(default_factory=set)
    served: list[str] = field(default_factory=list)

    def download(self, package: Package, room: Path) -> Path:
        if package.key in self.gone:
            raise PackageUnavailable(package=package.key, why="no such package")
        self.served.append(package.key)
        return Path(shutil.copy(self.folder / package.file, room))


def stock(folder: Path) -> tuple[Registry, Manifest]:
    """A registry with a model in two parts, its fallback, two voices; and the lock for them."""
    folder.mkdir()
    half = len(BIG) // 2
    one = wheel(folder / "big_1-1.0-py3-none-any.whl", {"big_1/part.bin": BIG[:half]})
    two = wheel(folder / "big_2-1.0-py3-none-any.whl", {"big_2/part.bin": BIG[half:]})
    small = wheel(folder / "small-2.0-py3-none-any.whl", {"small/model": SMALL})
    voices = npm_package(
        folder / "voices-3.0.tgz",
        {f"package/voices/{name}": content for name, content in VOICES.items()},
    )
    packages = [
        package(one, "big-1==1.0"),
        package(two, "big-2==1.0"),
        package(small, "small==2.0"),
        package(voices, "voices==3.0", "npm"),
    ]
    weights = (
        weight(
            "big/model.gguf", BIG, "big", "big-1==1.0:big_1/part.bin", "big-2==1.0:big_2/part.bin"
        ),
        weight("small/model.gguf", SMALL, "small", "small==2.0:small/model"),
        *(
            weight(f"voices/{name}", content, "voices", f"voices==3.0:package/voices/{name}")
            for name, content in VOICES.items()
        ),
    )
    sources = [source("big"), source("small", "fallback", "big"), source("voices")]
    manifest = Manifest(
        {entry.name: entry for entry in sources},
        {entry.key: entry for entry in packages},
        weights,
        {},
    )
    return Registry(folder), manifest
