"""The head of the report."""

from __future__ import annotations

from pathlib import Path

from appliance.acceptance.report import MATTER, about, card, changed, chosen, processor
from appliance.gpu.cards import find_model
from appliance.settings import load

LOCK = Path(__file__).parents[2] / "image-manifest.lock"


def test_what_was_tested_is_named() -> None:
    given = load({"VOICE_PATHS_LOCK": str(LOCK)})
    told = {"image_id": "sha256:1", "container": "voice-appliance", "host": "ward-7"}
    head = about(given, told)
    assert head["image_id"] == "sha256:1"
    assert head["host"] == "ward-7"
    assert len(head["lock_sha256"]) == 64
    assert head["time"].endswith("+00:00")
    assert head["profile"] == "cpu"
    assert about(given, {})["host"]


def test_the_settings_that_matter_exist_and_none_holds_a_secret_or_a_prompt() -> None:
    assert set(chosen(load({}))) == set(MATTER)
    assert not [name for name in MATTER if "token_file" in name or "prompt" in name]


def test_only_the_names_of_changed_settings_are_told() -> None:
    given = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_SYSTEM_PROMPT": "You are Dr. Who."})
    assert changed(given) == ["llm.system_prompt"]
    assert changed(load({"VOICE_PROFILE": "gpu"})) == []


def test_a_card_is_told_with_its_driver() -> None:
    line = find_model("L4")
    assert line is not None
    assert card(line.as_card())["capability"] == "8.9"


def test_the_processor_is_found_where_the_kernel_names_it() -> None:
    assert processor("processor\t: 0\nmodel name\t: Some Chip\n") == "Some Chip"
    assert processor("")
