"""ops/export on the connected side: what it writes, what it refuses, and how it resumes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.host import hosts
from tests.host.conftest import Connected
from tests.host.hosts import OPS


@pytest.fixture(scope="module")
def syft() -> None:
    """The tool that writes SBOMs, installed as ops/image and ops/export do it."""
    script = f"source {OPS}/common.sh; source {OPS}/sbom.sh; ensure_syft"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = f"NO SBOM IS TESTED: {done.stderr}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def test_second_export_changes_nothing(connected: Connected) -> None:
    before = {path: path.stat().st_mtime_ns for path in connected.full.rglob("*")}
    again = connected.export("--lock", connected.lock_one)
    assert again.returncode == 0, again.stderr
    assert "exists and is complete" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in connected.full.rglob("*")} == before


def test_same_image_gives_the_same_parts(connected: Connected, tmp_path: Path) -> None:
    done = connected.export("--lock", connected.lock_one, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for part in sorted(connected.full.glob("*.part")):
        assert (tmp_path / connected.full.name / part.name).read_bytes() == part.read_bytes()


def test_failed_export_is_resumed_where_it_stopped(connected: Connected, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("no key")
    options = ("--lock", connected.lock_one, "--out", tmp_path / "out", "--key", key)
    failed = connected.export(*options)
    assert failed.returncode == 1
    folder = tmp_path / "out" / connected.full.name
    assert not folder.exists()
    part = folder.with_name(folder.name + ".partial") / "image-000.part"
    written = part.stat().st_mtime_ns
    shutil.copy(connected.host.folder / "config/voice-appliance/signing_key", key)
    done = connected.export(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kept") == 3
    assert (folder / "image-000.part").stat().st_mtime_ns == written
    assert not list(folder.rglob("*.partial")) and not (folder / ".state").exists()
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name != ".lock"] == [
        folder.name
    ]


def test_unfinished_export_of_another_image_is_discarded(
    connected: Connected, tmp_path: Path
) -> None:
    partial = tmp_path / f"{connected.full.name}.partial"
    (partial / ".state").mkdir(parents=True)
    (partial / ".state/job").write_text("another image")
    (partial / ".state/parts").touch()
    (partial / "image-007.part").write_bytes(b"of another image")
    done = connected.export("--lock", connected.lock_one, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Discarding an unfinished export of another image" in done.stdout
    assert not (tmp_path / connected.full.name / "image-007.part").exists()


def test_folder_of_another_image_is_not_overwritten(connected: Connected, tmp_path: Path) -> None:
    (tmp_path / connected.full.name).mkdir()
    done = connected.export("--lock", connected.lock_one, "--out", tmp_path)
    assert done.returncode == 1
    assert "contains another image" in done.stderr


def test_image_that_differs_from_the_lock_is_not_exported(
    connected: Connected, tmp_path: Path
) -> None:
    tree = json.loads(connected.lock_one.read_text())
    tree["image"]["layers"][0]["diff_id"] = "sha256:" + "0" * 64
    other = tmp_path / "other.lock"
    other.write_text(json.dumps(tree))
    done = connected.export("--lock", other, "--out", tmp_path)
    assert done.returncode == 1
    assert "podman does not have" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "has no image entry"), ("", "is not JSON"), ('{"image": "x', "is not JSON")],
)
def test_invalid_lock_is_refused(
    connected: Connected, tmp_path: Path, text: str, message: str
) -> None:
    lock = tmp_path / "broken.lock"
    lock.write_text(text)
    done = connected.export("--lock", lock, "--out", tmp_path)
    assert done.returncode == 1
    assert message in done.stderr


def test_full_disk_is_noticed_before_and_during_the_export(
    connected: Connected, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", small], check=True)
    try:
        done = connected.export("--lock", connected.lock_one, "--out", small)
        assert done.returncode == 1
        assert "disk full" in done.stderr
        assert [path.name for path in small.iterdir() if path.name != ".lock"] == []
        connected.host.program("df", "echo Avail; echo 900000000000")
        done = connected.export("--lock", connected.lock_one, "--out", small)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert not list(small.rglob("image-*"))
    finally:
        (connected.host.folder / "bin/df").unlink(missing_ok=True)
        subprocess.run(["umount", small], check=True)


def test_key_created_on_first_use_is_announced_and_private(
    connected: Connected, tmp_path: Path
) -> None:
    key = tmp_path / "keys/new"
    done = connected.export("--lock", connected.lock_one, "--out", tmp_path, "--key", key)
    assert done.returncode == 0, done.stderr
    assert f"CREATED A NEW SIGNING KEY, WITHOUT A PASSPHRASE: {key}" in done.stderr
    assert key.stat().st_mode & 0o077 == 0
    assert "THIS RELEASE WILL HAVE NO SBOM" in done.stderr


def test_both_sboms_list_the_packages_of_the_image(
    syft: None, connected: Connected, tmp_path: Path
) -> None:
    done = connected.host.run(OPS / "export", "--lock", connected.lock_one, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    cyclone = json.loads((tmp_path / connected.full.name / "sbom.cdx.json").read_text())
    spdx = json.loads((tmp_path / connected.full.name / "sbom.spdx.json").read_text())
    assert cyclone["bomFormat"] == "CycloneDX"
    assert ("weigh", "2.5") in {
        (part["name"], part.get("version")) for part in cyclone["components"]
    }
    assert spdx["spdxVersion"].startswith("SPDX-2")
    assert "weigh" in {package["name"] for package in spdx["packages"]}


@pytest.fixture
def kept(connected: Connected, tmp_path: Path) -> Path:
    """Made-up SBOMs of image 1, where ops/image keeps them beside its lock."""
    (tmp_path / "built").mkdir()
    folder = hosts.kept_sboms(Path(shutil.copy(connected.lock_one, tmp_path / "built")))
    folder.mkdir()
    component = {"name": "of-the-build", "version": "1", "purl": "pkg:pypi/of-the-build@1"}
    (folder / "sbom.cdx.json").write_text(
        json.dumps({"bomFormat": "CycloneDX", "components": [component]})
    )
    (folder / "sbom.spdx.json").write_text(json.dumps({"packages": [component]}))
    return folder


def test_sboms_of_the_build_are_exported_without_a_scan(
    connected: Connected, kept: Path, tmp_path: Path
) -> None:
    root = OPS.parent
    for name in ("ops", "appliance", "docs"):  # a copy in which syft is not installed
        shutil.copytree(root / name, tmp_path / name)
    for path in (*root.glob("*.md"), root / ".venv"):
        (tmp_path / path.name).symlink_to(path)
    connected.host.program("no-python", "exit 1")
    done = connected.host.run(
        tmp_path / "ops/export", "--lock", kept.parent / connected.lock_one.name,
        "--out", tmp_path / "out", "--without-client",
        PYTHON=str(connected.host.folder / "bin/no-python"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    release = tmp_path / "out" / connected.full.name
    signed = (release / "SHA256SUMS").read_text()
    for name in ("sbom.cdx.json", "sbom.spdx.json"):
        assert (release / name).read_bytes() == (kept / name).read_bytes()
        assert f"  {name}\n" in signed


@pytest.mark.parametrize("fault", ["of another image", "not finished", "one is missing", "empty"])
def test_sboms_that_are_not_whole_or_of_another_image_are_not_exported(
    syft: None, connected: Connected, kept: Path, tmp_path: Path, fault: str
) -> None:
    if fault == "of another image":
        kept.rename(kept.with_name(kept.name.replace(connected.id_one[-64:], "0" * 64)))
    elif fault == "not finished":
        kept.rename(f"{kept}.partial")
    elif fault == "one is missing":
        (kept / "sbom.spdx.json").unlink()
    else:
        (kept / "sbom.cdx.json").write_text("")
    lock = kept.parent / connected.lock_one.name
    options = ("--lock", lock, "--out", tmp_path / "out", "--without-client")
    done = connected.host.run(OPS / "export", *options)
    assert done.returncode == 0, done.stderr
    for name, key in (("sbom.cdx.json", "components"), ("sbom.spdx.json", "packages")):
        sbom = json.loads((tmp_path / "out" / connected.full.name / name).read_text())
        assert "weigh" in {package["name"] for package in sbom[key]}
        assert "of-the-build" not in {package["name"] for package in sbom[key]}


def advise(folder: Path, package: str) -> Path:
    """Write an advisory about versions of a Python package before 2.6; return its folder."""
    folder.mkdir(exist_ok=True)
    events = [{"introduced": "0"}, {"fixed": "2.6"}]
    affected = {
        "package": {"ecosystem": "PyPI", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    record = {"id": "CVE-0000-1", "modified": "2026-11-01T00:00:00Z", "affected": [affected]}
    (folder / "advisory.json").write_text(json.dumps(record))
    return folder


def test_known_vulnerability_with_a_fix_stops_the_export(
    syft: None, connected: Connected, tmp_path: Path
) -> None:
    command = (OPS / "export", "--lock", connected.lock_one, "--out", tmp_path / "out")
    folder = advise(tmp_path / "advisories", "Weigh")
    done = connected.host.run(*command, "--advisories", folder)
    assert done.returncode == 1
    assert "weigh 2.5: CVE-0000-1 is fixed in 2.6" in done.stderr
    assert not (tmp_path / "out" / connected.full.name).exists()

    advise(folder, "another")  # newer data, in which the package is not affected
    done = connected.host.run(*command, "--advisories", folder)
    assert done.returncode == 0, done.stderr
    release = tmp_path / "out" / connected.full.name
    assert "0 to fix" in (release / "vulnerabilities.md").read_text()
    assert "ADVISORIES=checked\n" in (release / "release.env").read_text()
    signed = (release / "SHA256SUMS").read_text()
    for name in ("vulnerabilities.json", "vulnerabilities.md", "accepted-vulnerabilities.toml"):
        assert f"  {name}\n" in signed


def test_damaged_advisories_stop_the_export(
    syft: None, connected: Connected, tmp_path: Path
) -> None:
    folder = advise(tmp_path / "advisories", "Weigh")
    (folder / "advisory.json").write_text("{")
    out = tmp_path / "out"
    command = (OPS / "export", "--lock", connected.lock_one, "--out", out, "--advisories", folder)
    done = connected.host.run(*command)
    assert done.returncode == 1
    assert "advisory.json is not an advisory in OSV's format" in done.stderr


def test_missing_syft_stops_the_export_unless_sboms_are_declined(
    connected: Connected, tmp_path: Path
) -> None:
    for name in ("ops", "requirements"):
        shutil.copytree(OPS.parent / name, tmp_path / name)
    connected.host.program("no-python", "exit 1")
    done = connected.host.run(
        tmp_path / "ops/export", "--lock", connected.lock_one, "--out", tmp_path / "out",
        PYTHON=str(connected.host.folder / "bin/no-python"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "SYFT CANNOT BE INSTALLED" in done.stderr
    assert "--without-sbom" in done.stderr


def test_unknown_option_and_missing_value_are_refused(connected: Connected) -> None:
    assert "unknown option --frobnicate" in connected.export("--frobnicate").stderr
    assert "--since needs a value" in connected.export("--since").stderr
