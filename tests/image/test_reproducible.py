"""The same sources give the same image; a changed line of code changes only the top layer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host.hosts import ROOT
from tests.image.sealed import Built, build, store

FOLDERS = ("ops", "requirements", "appliance", "client")
FILES = ("Dockerfile", "image-manifest.lock", "pyproject.toml")


def repository(folder: Path) -> Path:
    """Copy what the image is built from."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@dataclass(frozen=True)
class Copy:
    """The image of a copy of the repository."""

    root: Path
    image: Built


@pytest.fixture(scope="module")
def copy(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    root = repository(tmp_path_factory.mktemp("copy") / "repository")
    out = built.out.parent / "copy"  # beside the base image
    image = build(built.host, out, root=root, tag="localhost/voice-appliance:copy")
    yield Copy(root, image)
    built.host.must("podman", "rmi", "--force", image.tag)


def test_second_build_in_an_empty_store_gives_the_same_image(copy: Copy, tmp_path: Path) -> None:
    """With an empty store; the base is bootstrapped again and every package downloaded again."""
    with store(tmp_path / "store") as elsewhere:
        again = build(elsewhere, tmp_path / "elsewhere/cpu", root=copy.root)
    assert again.lock["image"]["layers"] == copy.image.lock["image"]["layers"]
    assert again.id == copy.image.id
    assert again.lock == copy.image.lock
    shutil.rmtree(tmp_path / "store")


def test_changed_line_of_code_changes_one_small_layer(
    built: Built, copy: Copy, tmp_path: Path
) -> None:
    root, before = repository(tmp_path / "repository"), copy.image
    with (root / "appliance/__init__.py").open("a") as opened:
        opened.write("\n# one more line\n")
    after = build(
        built.host, before.out.with_name("after"), root=root, tag="localhost/voice-appliance:new"
    )
    assert after.id != before.id
    layers = zip(before.lock["image"]["layers"], after.lock["image"]["layers"], strict=True)
    changed = [new for old, new in layers if old["diff_id"] != new["diff_id"]]
    assert [layer["holds"] for layer in changed] == ["our code"]
    print(f"a code fix ships {changed[0]['size_bytes'] / 1e6:.1f} MB uncompressed")
    assert changed[0]["size_bytes"] < 20e6
    built.host.must("podman", "rmi", "--force", after.tag)
