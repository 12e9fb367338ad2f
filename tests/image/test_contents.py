"""What is in the image, and what is not: looked at from outside, file by file."""

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
from ops.bundle.context import chosen
from tests.image.sealed import USER, Built

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
    """Path in the image -> path here, of everything that is no folder."""
    found = (path for path in tree.rglob("*") if path.is_symlink() or not path.is_dir())
    return {"/" + path.relative_to(tree).as_posix(): path for path in found}


@pytest.fixture(scope="module")
def config(built: Built) -> dict[str, Any]:
    inspected = json.loads(built.host.must("buildah", "inspect", "--type", "image", built.tag))
    return dict(inspected["OCIv1"]["config"])


def mode(path: Path) -> int:
    return path.lstat().st_mode


def test_no_file_gives_whoever_runs_it_another_user(files: dict[str, Path]) -> None:
    assert [
        name for name, path in files.items() if mode(path) & (stat.S_ISUID | stat.S_ISGID)
    ] == []


def test_only_root_can_change_a_file_and_no_file_is_the_users_own(files: dict[str, Path]) -> None:
    loose = [
        name
        for name, path in files.items()
        if not path.is_symlink() and (mode(path) & 0o002 or path.lstat().st_uid == USER)
    ]
    assert loose == []


def test_everything_the_appliance_is_made_of_can_be_read_by_its_user(
    files: dict[str, Path],
) -> None:
    ours = {name: path for name, path in files.items() if name.startswith("/opt/voice/")}
    assert [name for name, path in ours.items() if not mode(path) & 0o004] == []


@pytest.mark.parametrize("unwanted", [COMPILERS, FETCHERS], ids=["compilers", "fetchers"])
def test_no_program_could_build_or_fetch_anything(
    files: dict[str, Path], unwanted: re.Pattern[str]
) -> None:
    programs = [name for name in files if re.search(r"/s?bin/[^/]+$", name)]
    assert len(programs) > 100
    assert [name for name in programs if unwanted.fullmatch(Path(name).name)] == []
    inside = (name.partition("/site-packages/")[2] for name in files)
    packages = {name.partition("/")[0] for name in inside if name}
    assert "pipecat" in packages
    assert packages.isdisjoint({"pip", "ensurepip", "wheel"})


def test_nothing_of_the_build_is_left(tree: Path, files: dict[str, Path]) -> None:
    left = ("/var/cache/", "/var/lib/apt/lists/", "/var/log/", "/var/backups/", "/tmp/", "/root/")
    assert [name for name in files if name.startswith((*left, "/run/", "/home/"))] == []
    assert [name for name in files if Path(name).name.endswith("_history")] == []
    # The engine puts its own in place of these.
    for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname"):
        assert name not in files or files[name].stat().st_size == 0
    assert not list((tree / "etc/apt").rglob("*.list"))
    assert not list((tree / "etc/apt").rglob("*.sources"))


def test_no_certificate_or_address_of_the_build_host_is_in_it(
    tree: Path, config: dict[str, Any]
) -> None:
    bundle = (tree / "etc/ssl/certs/ca-certificates.crt").read_text()
    shipped = list((tree / "usr/share/ca-certificates").rglob("*.crt"))
    assert bundle.count("BEGIN CERTIFICATE") == len(shipped)
    told = json.dumps(config)
    assert not re.search(r"https?://|secret[^s]|PIP_", told)


def test_the_code_of_the_connected_side_stays_there(files: dict[str, Path]) -> None:
    assert "/opt/voice/appliance/supervision/boot.py" in files
    ours = [name for name in files if name.startswith("/opt/voice/appliance/")]
    assert [name for name in ours if "/bundle/" in name] == []


def test_every_module_is_compiled_and_checked_by_content_not_by_time(tree: Path) -> None:
    for folder in (
        "opt/voice/appliance",
        "opt/voice/client",
        "opt/voice/venv/lib",
        "usr/lib/python3.11",
    ):
        compiled = list((tree / folder).rglob("*.pyc"))
        assert compiled
        # PEP 552: bit 0 says hash, bit 1 says that the hash is to be compared.
        kinds = {path.read_bytes()[4] for path in compiled}
        assert kinds == {3}, folder
    ours = list((tree / "opt/voice/appliance").rglob("*.py"))
    assert all(list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")) for path in ours)


def test_the_seal_holds_and_only_what_this_profile_runs_is_there(tree: Path) -> None:
    lock = manifest.read(tree / "opt/voice/image-manifest.lock")
    weights = tree / "opt/voice/weights"
    seal.verify(weights, lock, "cpu")
    there = {path.relative_to(weights).as_posix() for path in weights.rglob("*") if path.is_file()}
    wanted = chosen(lock, "cpu", there, slim=False)
    assert there == {weight.path for source in wanted for weight in lock.of_source(source.name)}


def test_the_lock_outside_is_the_one_inside_and_what_only_a_build_can_tell(
    built: Built, tree: Path
) -> None:
    inside = json.loads((tree / "opt/voice/image-manifest.lock").read_text())
    outside = built.lock
    image = outside.pop("image")
    assert outside == inside
    assert set(inside["wheels"]) == {"cpu.txt"}
    found = json.loads(built.host.must("podman", "image", "inspect", built.tag))[0]
    assert image["id"] == "sha256:" + found["Id"]
    assert image["manifest_digest"] == found["Digest"]
    assert [layer["diff_id"] for layer in image["layers"]] == found["RootFS"]["Layers"]
    assert image["base"]["sha256"]


def test_the_switches_that_keep_it_offline_are_in_one_place(config: dict[str, Any]) -> None:
    names = {line.partition("=")[0] for line in config["Env"]}
    assert names.isdisjoint(SWITCHES)


def test_it_starts_as_its_own_user(config: dict[str, Any]) -> None:
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["python", "-m", "appliance"]
    assert config["Cmd"] == ["boot"]


def test_it_is_smaller_than_promised(built: Built) -> None:
    image = built.lock["image"]
    for layer in image["layers"]:
        print(f"{layer['size_bytes'] / 1e6:10.1f} MB  {layer['holds']}")
    assert image["size_bytes"] < 2.5e9
    assert image["layers"][-1]["size_bytes"] < 20e6, "a code fix ships this layer and no other"
