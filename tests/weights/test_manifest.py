"""Reading and writing image-manifest.lock."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from appliance.errors import BadLock
from appliance.settings import LLMConfig
from appliance.weights import manifest
from tests.ops.bundle.fake_registry import make_registry

LOCK = Path(__file__).resolve().parents[2] / "image-manifest.lock"


def test_real_lock_is_rendered_unchanged() -> None:
    assert manifest.render(manifest.read(LOCK)) == LOCK.read_text(encoding="utf-8")


def test_every_source_of_the_real_lock_has_origin_licence_and_packager() -> None:
    lock = manifest.read(LOCK)
    for entry in lock.sources.values():
        for fact in (entry.what, entry.origin, entry.licence, entry.packager, entry.evidence):
            assert len(fact) > 2, entry.name
        assert entry.profiles, entry.name
        assert lock.of_source(entry.name), entry.name
    for package in lock.packages.values():
        assert package.version, package.key
        assert len(package.sha256) == 64, package.key
        assert package.size_bytes > 0, package.key
    for file in lock.weights:
        assert len(file.sha256) == 64, file.path
        assert file.packages, file.path


def test_real_lock_has_the_default_models_and_28_english_voices() -> None:
    paths = {file.path for file in manifest.read(LOCK).weights}
    assert f"{LLMConfig().model}/model.gguf" in paths
    assert "moonshine-tiny-en/encoder_model.ort" in paths
    assert sum(path.startswith("kokoro-82m/voices/") for path in paths) == 28


def test_entries_of_other_tools_survive_reading_and_writing(tmp_path: Path) -> None:
    _, lock = make_registry(tmp_path / "registry")
    image = {"base": "debian", "layers": [{"diff_id": "sha256:1"}]}
    text = manifest.render(dataclasses.replace(lock, extra={"image": image}))
    assert manifest.parse(text).extra == {"image": image}
    assert manifest.parse(text).weights == tuple(sorted(lock.weights, key=lambda w: w.path))


def test_each_file_has_its_own_line(tmp_path: Path) -> None:
    _, lock = make_registry(tmp_path / "registry")
    lines = manifest.render(lock).splitlines()
    assert all(sum(file.path in line for line in lines) == 1 for file in lock.weights)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda tree: tree.update(schema=99), "schema 99"),
        (lambda tree: tree.pop("weights"), "weights"),
        (lambda tree: tree["weights"].append(tree["weights"][0]), "listed twice"),
        (lambda tree: tree["weights"][0].update(path="../out"), "plain path"),
        (lambda tree: tree["weights"][0].update(path="/out"), "plain path"),
        (lambda tree: tree["weights"][0].update(source="nobody"), "'nobody' is not listed"),
        (lambda tree: tree["weights"][0].update(parts=["gone==1:x"]), "'gone==1' is not listed"),
        (lambda tree: tree["sources"]["big"].update(purpose="fallback"), "'fallback'"),
        (lambda tree: tree["sources"]["big"].update(colour="red"), "colour"),
        (lambda tree: tree["packages"]["big-1==1.0"].update(registry="web"), "'web' is not one of"),
    ],
)
def test_inconsistent_lock_is_refused_with_the_reason(
    tmp_path: Path, damage: object, complaint: str
) -> None:
    _, lock = make_registry(tmp_path / "registry")
    tree = json.loads(manifest.render(lock))
    assert callable(damage)
    damage(tree)
    path = tmp_path / "broken.lock"
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadLock, match=complaint):
        manifest.read(path)


def test_missing_or_unreadable_lock_is_a_bad_lock(tmp_path: Path) -> None:
    with pytest.raises(BadLock):
        manifest.read(tmp_path / "none.lock")
    (tmp_path / "garbled.lock").write_bytes(b"\xff\x00{")
    with pytest.raises(BadLock):
        manifest.read(tmp_path / "garbled.lock")
