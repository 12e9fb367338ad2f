"""The release of the real image: its size, its documents, the next version, and its delta."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.hosts import kept_sboms
from tests.image.conftest import NEXT, Delivered, export
from tests.image.sealed import Built


def size_bytes(release: Path) -> int:
    return sum(path.stat().st_size for path in release.rglob("*") if path.is_file())


def test_full_release_fits_its_limit(delivered: Delivered) -> None:
    print(f"the release has {size_bytes(delivered.release) / 1e6:,.0f} MB")
    assert len(list(delivered.release.glob("*.part"))) > 1
    assert size_bytes(delivered.release) < 1.6e9


def test_imported_image_has_the_id_of_the_built_one(delivered: Delivered, built: Built) -> None:
    assert delivered.image.host.ids() == {built.id}


def test_both_sboms_list_the_packages_of_the_image(delivered: Delivered) -> None:
    cyclonedx = json.loads((delivered.release / "sbom.cdx.json").read_text(encoding="utf-8"))
    spdx = json.loads((delivered.release / "sbom.spdx.json").read_text(encoding="utf-8"))
    assert cyclonedx["bomFormat"] == "CycloneDX"
    assert spdx["spdxVersion"].startswith("SPDX-2")
    for packages in (cyclonedx["components"], spdx["packages"]):
        names = {package["name"] for package in packages}
        assert {"pipecat-ai", "onnxruntime", "supervisor", "espeak-ng", "libc6"} <= names


def test_sboms_are_those_that_the_build_wrote(delivered: Delivered, built: Built) -> None:
    kept = kept_sboms(built.lock_path)
    for name in ("sbom.cdx.json", "sbom.spdx.json"):
        assert (delivered.release / name).read_bytes() == (kept / name).read_bytes()


def test_licences_and_provenance_belong_to_this_image(delivered: Delivered, built: Built) -> None:
    licences = delivered.release / "licences"
    assert "pipecat" in (licences / "python.txt").read_text(encoding="utf-8")
    assert "Apache-2.0" in (licences / "models.txt").read_text(encoding="utf-8")
    provenance = (delivered.release / "provenance.json").read_text(encoding="utf-8")
    assert built.id.removeprefix("sha256:") in provenance


@pytest.fixture(scope="module")
def delta(
    built: Built, next_version: Built, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The release that turns this version into the next one."""
    folder = tmp_path_factory.mktemp("upgrade")
    since = ("--since", built.lock_path)
    yield export(next_version, folder / "releases", *since, "--without-sbom")
    shutil.rmtree(folder)


def test_changed_line_of_code_changes_one_small_layer(built: Built, next_version: Built) -> None:
    assert next_version.id != built.id
    before, after = (image.lock["image"]["layers"] for image in (built, next_version))
    layers = zip(before, after, strict=True)
    changed = [new for old, new in layers if old["diff_id"] != new["diff_id"]]
    assert [layer["holds"] for layer in changed] == ["our code"]
    print(f"a code fix ships {changed[0]['size_bytes'] / 1e6:.1f} MB uncompressed")
    assert changed[0]["size_bytes"] < 20e6


def test_delta_of_a_code_fix_is_a_hundredth_of_the_release(
    delta: Path, delivered: Delivered
) -> None:
    size = size_bytes(delta)
    print(f"the delta has {size / 1e6:.1f} MB, its parts are")
    parts = sum(part.stat().st_size for part in delta.glob("*.part"))
    print(f"{parts / 1e6:.2f} MB of it")
    assert parts < 20e6
    assert parts * 100 < size_bytes(delivered.release)


def test_delta_turns_the_installed_version_into_the_next_one(
    delta: Path, next_version: Built, delivered: Delivered, built: Built
) -> None:
    output = delivered.take_in(delta)
    assert "proved: every byte read back" in output
    assert delivered.image.host.ids() == {built.id, next_version.id}
    command = ("--entrypoint", "python", f"localhost/voice-appliance:{NEXT}-cpu", "-c")
    run = ("podman", "run", "--rm", "--pull=never", "--network=none", "--read-only", *command)
    script = "from appliance.settings import VERSION; print(VERSION)"
    assert delivered.image.host.must(*run, script) == NEXT
