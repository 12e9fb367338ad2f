"""The header of the report: what was tested, and where."""

from __future__ import annotations

from pathlib import Path

from appliance.acceptance.about import (
    REPORTED_SETTINGS,
    changed_settings,
    describe,
    describe_card,
    reported_settings,
)
from appliance.acceptance.options import AcceptanceOptions
from appliance.gpu.cards import find_model
from appliance.settings import load

LOCK = Path(__file__).parents[2] / "image-manifest.lock"


def test_description_names_what_was_tested() -> None:
    settings = load({"VOICE_PATHS_LOCK": str(LOCK)})
    options = AcceptanceOptions(image_id="sha256:1", container="voice-appliance", host="ward-7")
    about = describe(settings, options)
    assert about["image_id"] == "sha256:1"
    assert about["host"] == "ward-7"
    assert len(about["lock_sha256"]) == 64
    assert about["time"].endswith("+00:00")
    assert about["profile"] == "cpu"
    assert describe(settings, AcceptanceOptions())["host"]


def test_reported_settings_exist_and_none_is_a_secret_or_a_prompt() -> None:
    assert set(reported_settings(load({}))) == set(REPORTED_SETTINGS)
    assert not [name for name in REPORTED_SETTINGS if "token_file" in name or "prompt" in name]


def test_changed_settings_are_reported_by_name_only() -> None:
    settings = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_SYSTEM_PROMPT": "You are Dr. Who."})
    assert changed_settings(settings) == ["llm.system_prompt"]
    assert changed_settings(load({"VOICE_PROFILE": "gpu"})) == []


def test_gpu_is_described_with_its_compute_capability() -> None:
    known = find_model("L4")
    assert known is not None
    assert describe_card(known.as_card())["capability"] == "8.9"
