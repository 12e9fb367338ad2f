"""The release of the real image: its size, its documents, and an upgrade by a delta."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.image.conftest import Delivered, export
from tests.image.sealed import Built, build, repository

NEXT = "0.1.1"


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


def test_licences_and_provenance_belong_to_this_image(delivered: Delivered, built: Built) -> None:
    licences = delivered.release / "licences"
    assert "pipecat" in (licences / "python.txt").read_text(encoding="utf-8")
    assert "Apache-2.0" in (licences / "models.txt").read_text(encoding="utf-8")
    provenance = (delivered.release / "provenance.json").read_text(encoding="utf-8")
    assert built.id.removeprefix("sha256:") in provenance


@dataclass(frozen=True)
class DeltaUpgrade:
    """The next version as an image, and the delta from this version to it."""

    image: Built
    delta: Path


@pytest.fixture(scope="module")
def upgrade(
    built: Built, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeltaUpgrade]:
    folder = tmp_path_factory.mktemp("upgrade")
    root = repository(folder / "repository", sources)
    for name in ("pyproject.toml", "appliance/settings/__init__.py"):
        text = (root / name).read_text(encoding="utf-8")
        changed = text.replace('ersion = "0.1.0"', f'ersion = "{NEXT}"')
        changed = changed.replace('VERSION = "0.1.0"', f'VERSION = "{NEXT}"')
        assert changed != text
        (root / name).write_text(changed, encoding="utf-8")
    out = built.out.parent / "next"  # reuses the base image
    after = build(built.host, out, root=root, tag=f"localhost/voice-appliance:{NEXT}-tested")
    since = ("--since", built.lock_path)
    yield DeltaUpgrade(after, export(after, folder / "releases", *since, "--without-sbom"))
    built.host.must("podman", "rmi", "--force", after.tag)
    shutil.rmtree(folder)


def test_delta_of_a_code_fix_is_a_hundredth_of_the_release(
    upgrade: DeltaUpgrade, delivered: Delivered
) -> None:
    size = size_bytes(upgrade.delta)
    print(f"the delta has {size / 1e6:.1f} MB, its parts are")
    parts = sum(part.stat().st_size for part in upgrade.delta.glob("*.part"))
    print(f"{parts / 1e6:.2f} MB of it")
    assert parts < 20e6
    assert parts * 100 < size_bytes(delivered.release)


def test_delta_turns_the_installed_version_into_the_next_one(
    upgrade: DeltaUpgrade, delivered: Delivered, built: Built
) -> None:
    output = delivered.take_in(upgrade.delta)
    assert "proved: every byte read back" in output
    assert delivered.image.host.ids() == {built.id, upgrade.image.id}
    command = ("--entrypoint", "python", f"localhost/voice-appliance:{NEXT}-cpu", "-c")
    run = ("podman", "run", "--rm", "--pull=never", "--network=none", "--read-only", *command)
    script = "from appliance.settings import VERSION; print(VERSION)"
    assert delivered.image.host.must(*run, script) == NEXT
