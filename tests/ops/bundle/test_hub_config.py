"""hub.toml: its validation, and the sources that are built from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import BadSetting
from appliance.weights import manifest
from ops.bundle.hub_config import HUB_TOML, KOKORO, Repository, read_config

EMPTY = manifest.Manifest({}, {}, (), {})


def write_changed(tmp: Path, old: str, new: str) -> Path:
    """Write the shipped hub.toml with one replacement."""
    text = HUB_TOML.read_text(encoding="utf-8")
    assert old in text
    path = tmp / "hub.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_shipped_file_offers_a_llama_for_every_card() -> None:
    config = read_config()
    assert set(config.variants()) == {"bf16", "fp8", "int8", "w4a16"}
    kokoro, model = config.sources(EMPTY)
    assert kokoro.name == KOKORO
    assert [entry.role for entry in model.repositories] == ["adapter", "text", "features"]


def test_llama_is_the_requested_one_else_the_locked_one_else_the_default() -> None:
    config = read_config()
    model = config.sources(EMPTY)[1]
    assert model.role("text").variant == config.text
    requested = config.sources(EMPTY, "w4a16")[1]
    assert requested.role("text").variant == "w4a16"
    revisions = {entry.repository: "a" * 40 for entry in requested.repositories}
    sources = {requested.name: requested.lock_source(revisions)}
    locked = manifest.Manifest(sources, {}, (), {})
    assert config.sources(locked)[1].role("text").variant == "w4a16"


def test_shipped_file_has_no_revisions() -> None:
    assert {entry.revision for entry in read_config().repositories} == {""}


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
def test_pattern_does_not_match_across_folders(pattern: str, name: str, wanted: bool) -> None:
    assert Repository("kokoro", "a/b", "", (pattern,), "MIT").wants(name) is wanted


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('revision = ""', 'revision = "main"', "'main' is not a commit hash"),
        ('role = "features"', 'role = "ears"', "role 'ears' is not one of"),
        ('variant = "fp8"', 'variant = "bf16"', "same role and variant"),
        ('variant = "fp8"', "", "requires a variant"),
        ('licence = "MIT"', "", "licence"),
        ('licence = "MIT"', "licence = 7", "must be text"),
        ('text = "fp8"', 'text = "fp8', "TOMLDecodeError"),
        ('text = "fp8"', "", "text"),
        ('role = "features"', 'role = "text"\nvariant = "odd"', "needed together"),
    ],
)
def test_configuration_with_a_fault_is_refused_by_name(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(BadSetting, match=complaint):
        read_config(write_changed(tmp_path, old, new))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml")
