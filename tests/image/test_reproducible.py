"""The same sources give the same image; a changed line of code changes only the top layer."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.image.hosts import ROOT
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


def test_second_build_in_an_empty_store_gives_the_same_image(built: Built, tmp_path: Path) -> None:
    """With an empty store; the base is bootstrapped again and every package downloaded again."""
    root = repository(tmp_path / "repository")
    out = built.out.parent  # already has a base
    here = build(built.host, out / "here", root=root, tag="localhost/voice-appliance:here")
    with store(tmp_path / "store") as elsewhere:
        again = build(elsewhere, tmp_path / "elsewhere/cpu", root=root)
    assert again.lock["image"]["layers"] == here.lock["image"]["layers"]
    assert again.id == here.id
    assert again.lock == here.lock
    shutil.rmtree(tmp_path / "store")
    built.host.must("podman", "rmi", "--force", here.tag)


def test_changed_line_of_code_changes_one_small_layer(built: Built, tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    out = built.out.parent
    before = build(built.host, out / "before", root=root, tag="localhost/voice-appliance:old")
    with (root / "appliance/__init__.py").open("a") as opened:
        opened.write("\n# one more line\n")
    after = build(built.host, out / "after", root=root, tag="localhost/voice-appliance:new")
    assert after.id != before.id
    layers = zip(before.lock["image"]["layers"], after.lock["image"]["layers"], strict=True)
    changed = [new for old, new in layers if old["diff_id"] != new["diff_id"]]
    assert [layer["holds"] for layer in changed] == ["our code"]
    print(f"a code fix ships {changed[0]['size_bytes'] / 1e6:.1f} MB uncompressed")
    assert changed[0]["size_bytes"] < 20e6
    built.host.must("podman", "rmi", "--force", before.tag, after.tag)
