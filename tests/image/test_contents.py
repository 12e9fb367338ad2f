"""What the image contains and what it must not contain, checked file by file."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.offline import SWITCHES
from appliance.weights import manifest, seal
from ops.bundle.context import image_sources
from tests.host.hosts import USER
from tests.image.sealed import Built

COMPILERS = re.compile(r"(.*-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|tcc|ld|as|make|rustc|go)(-[\d.]+)?")
FETCHERS = re.compile(r"(curl|wget|pip[\d.]*|easy_install.*|git|ssh|scp|nc|netcat|conda|uv|npm)")


@pytest.fixture(scope="module")
def tree(built: Built) -> Iterator[Path]:
    """The image's files."""
    working = built.host.must("buildah", "from", "--pull-never", built.tag)
    try:
        yield Path(built.host.must("buildah", "mount", working))
    finally:
        built.host.must("buildah", "rm", working)


@pytest.fixture(scope="module")
def files(tree: Path) -> dict[str, Path]:
    """All files and links: path in the image -> path on this machine."""
    paths = (path for path in tree.rglob("*") if path.is_symlink() or not path.is_dir())
    return {"/" + path.relative_to(tree).as_posix(): path for path in paths}


@pytest.fixture(scope="module")
def config(built: Built) -> dict[str, Any]:
    inspected = json.loads(built.host.must("buildah", "inspect", "--type", "image", built.tag))
    return dict(inspected["OCIv1"]["config"])


def mode(path: Path) -> int:
    return path.lstat().st_mode


def test_no_file_is_setuid_or_setgid(files: dict[str, Path]) -> None:
    assert [
        name for name, path in files.items() if mode(path) & (stat.S_ISUID | stat.S_ISGID)
    ] == []


def test_only_root_can_change_files(files: dict[str, Path]) -> None:
    writable = [
        name
        for name, path in files.items()
        if not path.is_symlink() and (mode(path) & 0o002 or path.lstat().st_uid == USER)
    ]
    assert writable == []


def test_user_can_read_every_file_of_the_appliance(
    files: dict[str, Path],
) -> None:
    ours = {name: path for name, path in files.items() if name.startswith("/opt/voice/")}
    assert [name for name, path in ours.items() if not mode(path) & 0o004] == []


@pytest.mark.parametrize("unwanted", [COMPILERS, FETCHERS], ids=["compilers", "fetchers"])
def test_there_is_no_compiler_and_no_download_tool(
    files: dict[str, Path], unwanted: re.Pattern[str]
) -> None:
    programs = [name for name in files if re.search(r"/s?bin/[^/]+$", name)]
    assert len(programs) > 100
    assert [name for name in programs if unwanted.fullmatch(Path(name).name)] == []
    site_paths = (name.partition("/site-packages/")[2] for name in files)
    packages = {name.partition("/")[0] for name in site_paths if name}
    assert "pipecat" in packages
    assert packages.isdisjoint({"pip", "ensurepip", "wheel"})


def test_there_are_no_leftovers_of_the_build(tree: Path, files: dict[str, Path]) -> None:
    folders = (
        "/var/cache/",
        "/var/lib/apt/lists/",
        "/var/log/",
        "/var/backups/",
        "/tmp/",
        "/root/",
    )
    assert [name for name in files if name.startswith((*folders, "/run/", "/home/"))] == []
    assert [name for name in files if Path(name).name.endswith("_history")] == []
    # The container engine replaces these.
    for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname"):
        assert name not in files or files[name].stat().st_size == 0
    assert not list((tree / "etc/apt").rglob("*.list"))
    assert not list((tree / "etc/apt").rglob("*.sources"))


def test_there_is_no_certificate_or_address_of_the_build_host(
    tree: Path, config: dict[str, Any]
) -> None:
    bundle = (tree / "etc/ssl/certs/ca-certificates.crt").read_text()
    shipped = list((tree / "usr/share/ca-certificates").rglob("*.crt"))
    assert bundle.count("BEGIN CERTIFICATE") == len(shipped)
    text = json.dumps(config)
    assert not re.search(r"https?://|secret[^s]|PIP_", text)


def test_code_of_the_connected_side_is_not_in_the_image(files: dict[str, Path]) -> None:
    assert "/opt/voice/appliance/supervision/boot.py" in files
    assert [name for name in files if name.startswith("/opt/voice/ops")] == []


def test_every_module_is_compiled_and_validated_by_hash(tree: Path) -> None:
    for folder in (
        "opt/voice/appliance",
        "opt/voice/client",
        "opt/voice/venv/lib",
        "usr/lib/python3.11",
    ):
        compiled = list((tree / folder).rglob("*.pyc"))
        assert compiled
        # PEP 552: bit 0: hash-based, bit 1: the hash is checked.
        kinds = {path.read_bytes()[4] for path in compiled}
        assert kinds == {3}, folder
    modules = list((tree / "opt/voice/appliance").rglob("*.py"))
    assert all(list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")) for path in modules)


def test_seal_holds_and_only_models_of_this_profile_are_there(tree: Path) -> None:
    lock = manifest.read(tree / "opt/voice/image-manifest.lock")
    weights = tree / "opt/voice/weights"
    seal.verify(weights, lock, "cpu")
    paths = {path.relative_to(weights).as_posix() for path in weights.rglob("*") if path.is_file()}
    sources = image_sources(lock, "cpu")
    assert paths == {weight.path for source in sources for weight in lock.of_source(source.name)}


def test_recorded_lock_is_the_one_inside_plus_the_image_entry(built: Built, tree: Path) -> None:
    inside = json.loads((tree / "opt/voice/image-manifest.lock").read_text())
    outside = built.lock
    image = outside.pop("image")
    assert outside == inside
    assert set(inside["wheels"]) == {"cpu.txt"}
    inspected = json.loads(built.host.must("podman", "image", "inspect", built.tag))[0]
    assert image["id"] == "sha256:" + inspected["Id"]
    assert image["manifest_digest"] == inspected["Digest"]
    assert [layer["diff_id"] for layer in image["layers"]] == inspected["RootFS"]["Layers"]
    assert image["base"]["sha256"]


def test_offline_switches_are_not_set_in_the_image(config: dict[str, Any]) -> None:
    names = {line.partition("=")[0] for line in config["Env"]}
    assert names.isdisjoint(SWITCHES)


def test_image_starts_boot_as_its_own_user(config: dict[str, Any]) -> None:
    assert config["User"] == f"{USER}:{USER}"
    program, *options, script, command = config["Entrypoint"]
    assert program == "/usr/bin/python3.11"
    assert options == ["-I", "-S", "-B"]
    assert (script, command) == ("/opt/voice/appliance/code_seal.py", "start")
    assert config["Cmd"] == ["boot"]


def test_image_and_code_layer_are_small(built: Built) -> None:
    image = built.lock["image"]
    for layer in image["layers"]:
        print(f"{layer['size_bytes'] / 1e6:10.1f} MB  {layer['holds']}")
    assert image["size_bytes"] < 2.3e9
    assert image["layers"][-1]["size_bytes"] < 20e6, "a code fix ships this layer and no other"
