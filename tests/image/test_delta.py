"""A delta carries what the other side lacks, and is refused where that side is not as supposed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.image.conftest import Connected
from tests.image.hosts import Host, damage
from tests.image.test_export_import import refused, taken_in


@pytest.fixture
def delta(connected: Connected, tmp_path: Path) -> Path:
    """A copy of the delta from image 1 to image 2."""
    return Path(shutil.copytree(connected.delta, tmp_path / "medium/delta"))


def test_a_line_of_code_takes_a_hundredth_of_the_full_release(connected: Connected) -> None:
    full, delta = (
        sum(part.stat().st_size for part in release.glob("*.part"))
        for release in (connected.full, connected.delta)
    )
    assert delta * 100 < full
    release = json.loads((connected.delta / "release.json").read_text())
    assert release["base"] == {"id": connected.id_one, "version": "1", "layers": 4}


def test_a_delta_onto_its_base_becomes_the_very_image_that_was_built(
    connected: Connected, carried: Path, delta: Path, offline: Host
) -> None:
    assert taken_in(offline, carried).returncode == 0
    answer = taken_in(offline, delta)
    assert answer.returncode == 0, answer.stderr
    assert "proved: every byte read back out of podman" in answer.stdout
    assert offline.ids() == {connected.id_one, connected.id_two}
    save = f"podman save -q {connected.id_two} | sha256sum"
    sums = [on.must("bash", "-c", save) for on in (connected.host, offline)]
    assert sums[0] == sums[1]
    again = taken_in(offline, delta)
    assert "already imported: loading nothing" in again.stdout


def test_a_delta_without_its_base_is_refused_and_names_it(
    connected: Connected, delta: Path, offline: Host
) -> None:
    refused(offline, delta, f"wrong base: this delta needs {connected.id_one} (version 1)")


def test_a_delta_onto_another_image_is_refused(
    connected: Connected, delta: Path, offline: Host, tmp_path: Path
) -> None:
    other = tmp_path / "other.tar"
    connected.host.must("podman", "save", "--quiet", "--output", other, "tiny:3")
    offline.must("podman", "load", "--quiet", "--input", other)
    refused(offline, delta, "wrong base", "Nothing was loaded")


def test_a_delta_onto_a_base_whose_bytes_rotted_is_taken_out_again(
    carried: Path, delta: Path, offline: Host
) -> None:
    assert taken_in(offline, carried).returncode == 0
    (stored,) = offline.images.glob("overlay/*/diff/opt/voice/weights/model.gguf")
    damage(stored)
    before = offline.ids()
    answer = taken_in(offline, delta)
    assert answer.returncode == 1
    assert "podman does not hold the bytes of" in answer.stderr
    assert "removed again" in answer.stderr
    assert offline.ids() == before


def test_the_base_may_go_once_the_delta_is_in(
    connected: Connected, carried: Path, delta: Path, offline: Host
) -> None:
    assert taken_in(offline, carried).returncode == 0
    assert taken_in(offline, delta).returncode == 0
    offline.must("podman", "image", "rm", "localhost/voice-appliance:1-cpu")
    assert offline.ids() == {connected.id_two}
    assert taken_in(offline, delta, "--prove").returncode == 0


def test_a_damaged_delta_is_refused_like_any_release(
    carried: Path, delta: Path, offline: Host
) -> None:
    assert taken_in(offline, carried).returncode == 0
    damage(delta / "image-000.part")
    refused(offline, delta, "image-000.part is damaged")


def test_there_is_no_delta_to_the_same_image_or_to_one_with_nothing_in_common(
    connected: Connected, tmp_path: Path
) -> None:
    same = connected.export("--lock", connected.lock_one, "--since", connected.lock_one)
    assert same.returncode == 1
    assert "there is nothing to carry" in same.stderr
    alien = connected.export("--lock", connected.lock_three, "--since", connected.lock_one)
    assert alien.returncode == 1
    assert "export it whole" in alien.stderr


def test_preflight_says_whether_the_base_is_there(
    carried: Path, delta: Path, offline: Host
) -> None:
    check = (delta / "preflight", "--json", "--only", "base,space")
    lacking = json.loads(offline.run(*check).stdout)
    assert [entry["state"] for entry in lacking["checks"]] == ["pass", "fail"]
    assert taken_in(offline, carried).returncode == 0
    assert json.loads(offline.run(*check).stdout)["failed"] == 0
