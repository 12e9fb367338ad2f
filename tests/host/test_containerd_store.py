"""ops/import into Docker's containerd store, which gives images ids of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.host import containerd_store
from tests.host.conftest import Connected
from tests.host.containerd_store import Store
from tests.host.hosts import Host
from tests.host.test_export_import import run_import

TAG = "localhost/voice-appliance:1-cpu"


@pytest.fixture
def store(offline: Host) -> Store:
    """The store of the host's Docker, a stand-in."""
    folder = offline.folder / "docker"
    script = f'exec {sys.executable} {containerd_store.__file__} {folder} "$@"'
    offline.program("docker", script)
    return Store(folder)


def test_release_is_imported_and_compared_by_config_and_layers(
    connected: Connected, carried: Path, offline: Host, store: Store
) -> None:
    answer = run_import(offline, carried, "--engine", "docker")
    assert answer.returncode == 0, answer.stderr
    image = store.names[TAG]
    assert image != connected.id_one
    assert store.manifest(image)["config"]["digest"] == connected.id_one
    assert f"docker names the image {image}" in answer.stdout
    assert "proved: every byte read back from docker" in answer.stdout
    again = run_import(offline, carried, "--engine", "docker")
    assert again.returncode == 0, again.stderr
    assert "already imported: loading nothing" in again.stdout
    assert store.names[TAG] == image


@pytest.mark.parametrize("what", ["config", "layer"])
def test_damage_in_the_store_is_found(
    what: str, connected: Connected, carried: Path, offline: Host, store: Store
) -> None:
    assert run_import(offline, carried, "--engine", "docker").returncode == 0
    manifest = store.manifest(store.names[TAG])
    digest = manifest["config"]["digest"] if what == "config" else manifest["layers"][1]["digest"]
    blob = offline.folder / "docker/blobs" / digest.removeprefix("sha256:")
    # Whitespace after a JSON text: the config is read, but its bytes are others.
    blob.write_bytes(blob.read_bytes() + b"\n")
    answer = run_import(offline, carried, "--engine", "docker")
    assert answer.returncode == 1
    assert f"docker returns other bytes for {digest}" in answer.stderr
    assert TAG in store.names  # it was there before, and stays


def test_image_with_the_layers_but_another_config_is_not_taken_for_the_release(
    connected: Connected, carried: Path, offline: Host, store: Store
) -> None:
    assert run_import(offline, carried, "--engine", "docker").returncode == 0
    image = store.names[TAG]
    manifest = store.manifest(image)
    config = json.loads(store.get(manifest["config"]["digest"]))
    config["config"]["Env"] = ["LD_PRELOAD=/evil.so"]
    manifest["config"]["digest"] = store.put(json.dumps(config).encode())
    other = store.put(json.dumps(manifest).encode())
    store.remove(image)
    store.name(other, TAG)
    answer = run_import(offline, carried, "--engine", "docker")
    assert answer.returncode == 1
    assert f"{TAG} is another image in docker already ({other})" in answer.stderr
    assert store.names == {TAG: other}


def test_image_that_is_refused_after_loading_is_removed(
    connected: Connected, carried: Path, offline: Host, store: Store
) -> None:
    # An engine that loses a layer when it returns the image.
    docker = offline.folder / "bin/docker"
    lossy = docker.read_text().replace(
        "exec",
        'if [[ $1 == save ]]; then echo "[]" >manifest.json; tar -c manifest.json; exit; fi; exec',
    )
    docker.write_text(lossy)
    answer = run_import(offline, carried, "--engine", "docker")
    assert answer.returncode == 1
    assert "It was removed again" in answer.stderr
    assert store.names == {}


def test_delta_is_refused_before_anything_is_loaded(
    connected: Connected, carried: Path, offline: Host, store: Store
) -> None:
    assert run_import(offline, carried, "--engine", "docker").returncode == 0
    before = store.names
    answer = run_import(offline, connected.delta, "--engine", "docker")
    assert answer.returncode == 1
    assert "use the full release" in answer.stderr
    assert store.names == before


def test_preflight_accepts_the_store_but_not_for_a_delta(
    connected: Connected, offline: Host, store: Store
) -> None:
    signers = connected.full / "allowed_signers.example"
    for release, state in ((connected.full, "pass"), (connected.delta, "fail")):
        options = ("--engine", "docker", "--only", "store", "--json", "--signers", signers)
        answer = offline.run(release / "preflight", *options, release)
        (check,) = json.loads(answer.stdout)["checks"]
        assert check["state"] == state, check
        assert "containerd store" in check["found"]
    assert "use the full release" in check["to_do"]
