"""The list of the hub's repositories: what it may say, and which parts are made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import BadSetting
from appliance.weights import manifest
from ops.bundle.repositories import KOKORO, LIST, Repository, read

EMPTY = manifest.Manifest({}, {}, (), {})


def changed(tmp: Path, old: str, new: str) -> Path:
    """The shipped list with one thing replaced."""
    text = LIST.read_text(encoding="utf-8")
    assert old in text
    path = tmp / "hub.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_shipped_list_offers_a_llama_for_every_card() -> None:
    shelf = read()
    assert set(shelf.variants()) == {"bf16", "fp8", "int8", "w4a16"}
    kokoro, model = shelf.parts(EMPTY)
    assert kokoro.source == KOKORO
    assert [entry.role for entry in model.repositories] == ["adapter", "text", "features"]


def test_the_llama_is_the_one_asked_for_then_that_of_the_lock_then_the_lists() -> None:
    shelf = read()
    model = shelf.parts(EMPTY)[1]
    assert model.role("text").variant == shelf.text
    asked = shelf.parts(EMPTY, "w4a16")[1]
    assert asked.role("text").variant == "w4a16"
    revisions = {entry.repository: "a" * 40 for entry in asked.repositories}
    sources = {asked.source: asked.described(revisions)}
    locked = manifest.Manifest(sources, {}, (), {})
    assert shelf.parts(locked)[1].role("text").variant == "w4a16"


def test_no_revision_is_written_down_that_nobody_looked_up() -> None:
    assert {entry.revision for entry in read().repositories} == {""}


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        ("config.json", "config.json", True),
        ("config.json", "original/config.json", False),
        ("model*.safetensors", "model-00001-of-00004.safetensors", True),
        ("*.safetensors", "original/model.safetensors", False),
        ("voices/[ab][fm]_*.pt", "voices/af_heart.pt", True),
        ("voices/[ab][fm]_*.pt", "voices/jf_alpha.pt", False),
        ("voices/[ab][fm]_*.pt", "voices/af_heart.pt/more.pt", False),
    ],
)
def test_a_pattern_stays_within_its_folder(pattern: str, name: str, wanted: bool) -> None:
    assert Repository("kokoro", "a/b", "", (pattern,), "MIT").wants(name) is wanted


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('revision = ""', 'revision = "main"', "'main' is no commit hash"),
        ('role = "features"', 'role = "ears"', "role 'ears' is none of"),
        ('variant = "fp8"', 'variant = "bf16"', "same role and variant"),
        ('variant = "fp8"', "", "has a variant"),
        ('licence = "MIT"', "", "licence"),
        ('licence = "MIT"', "licence = 7", "should be text"),
        ('text = "fp8"', 'text = "fp8', "TOMLDecodeError"),
        ('text = "fp8"', "", "text"),
        ('role = "features"', 'role = "text"\nvariant = "odd"', "belong together"),
    ],
)
def test_a_fault_in_the_list_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(BadSetting, match=complaint):
        read(changed(tmp_path, old, new))


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nowhere\.toml"):
        read(tmp_path / "nowhere.toml")
