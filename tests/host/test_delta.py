"""A delta carries only the layers that the other side lacks, and needs its base there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.host.conftest import Connected
from tests.host.hosts import Host, damage, read_env
from tests.host.test_export_import import assert_refused, run_import


@pytest.fixture
def delta(connected: Connected, tmp_path: Path) -> Path:
    """A copy of the delta from image 1 to image 2."""
    return Path(shutil.copytree(connected.delta, tmp_path / "medium/delta"))


def test_delta_of_one_changed_line_is_a_hundredth_of_the_full_release(connected: Connected) -> None:
    full, delta = (
        sum(part.stat().st_size for part in release.glob("*.part"))
        for release in (connected.full, connected.delta)
    )
    assert delta * 100 < full
    release = read_env(connected.delta / "release.env")
    base = {name: release[f"BASE_{name}"] for name in ("ID", "VERSION", "LAYERS")}
    assert base == {"ID": connected.id_one, "VERSION": "1", "LAYERS": "4"}


def test_delta_on_its_base_becomes_the_image_that_was_built(
    connected: Connected, carried: Path, delta: Path, offline: Host
) -> None:
    assert run_import(offline, carried).returncode == 0
    answer = run_import(offline, delta)
    assert answer.returncode == 0, answer.stderr
    assert "proved: every byte read back from podman" in answer.stdout
    assert offline.ids() == {connected.id_one, connected.id_two}
    save = f"podman save -q {connected.id_two} | sha256sum"
    sums = [on.must("bash", "-c", save) for on in (connected.host, offline)]
    assert sums[0] == sums[1]
    again = run_import(offline, delta)
    assert "already imported: loading nothing" in again.stdout


def test_delta_without_its_base_is_refused_and_names_it(
    connected: Connected, delta: Path, offline: Host
) -> None:
    assert_refused(offline, delta, f"wrong base: this delta needs {connected.id_one} (version 1)")


def test_delta_on_another_image_is_refused(
    connected: Connected, delta: Path, offline: Host, tmp_path: Path
) -> None:
    other = tmp_path / "other.tar"
    connected.host.must("podman", "save", "--quiet", "--output", other, "tiny:3")
    offline.must("podman", "load", "--quiet", "--input", other)
    assert_refused(offline, delta, "wrong base", "Nothing was loaded")


def test_delta_on_a_damaged_base_is_removed_again(
    carried: Path, delta: Path, offline: Host
) -> None:
    assert run_import(offline, carried).returncode == 0
    (stored,) = offline.images.glob("overlay/*/diff/opt/voice/weights/model.gguf")
    damage(stored)
    before = offline.ids()
    answer = run_import(offline, delta)
    assert answer.returncode == 1
    assert "podman returns other bytes for" in answer.stderr
    assert "removed again" in answer.stderr
    assert offline.ids() == before


def test_base_may_be_removed_after_the_delta_is_imported(
    connected: Connected, carried: Path, delta: Path, offline: Host
) -> None:
    assert run_import(offline, carried).returncode == 0
    assert run_import(offline, delta).returncode == 0
    offline.must("podman", "image", "rm", "localhost/voice-appliance:1-cpu")
    assert offline.ids() == {connected.id_two}
    assert run_import(offline, delta, "--prove").returncode == 0


def test_damaged_delta_is_refused(carried: Path, delta: Path, offline: Host) -> None:
    assert run_import(offline, carried).returncode == 0
    damage(delta / "image-000.part")
    assert_refused(offline, delta, "image-000.part is damaged")


def test_delta_of_the_same_or_an_unrelated_image_is_not_exported(
    connected: Connected, tmp_path: Path
) -> None:
    same = connected.export("--lock", connected.lock_one, "--since", connected.lock_one)
    assert same.returncode == 1
    assert "there is no difference to export" in same.stderr
    alien = connected.export("--lock", connected.lock_three, "--since", connected.lock_one)
    assert alien.returncode == 1
    assert "export a full release" in alien.stderr


def test_preflight_checks_for_the_base(carried: Path, delta: Path, offline: Host) -> None:
    signers = delta / "allowed_signers.example"
    check = (delta / "preflight", "--signers", signers, "--json", "--only", "base,space")
    lacking = json.loads(offline.run(*check).stdout)
    assert [entry["state"] for entry in lacking["checks"]] == ["pass", "fail"]
    assert run_import(offline, carried).returncode == 0
    assert json.loads(offline.run(*check).stdout)["failed"] == 0
