"""What is known of a machine before anything is measured."""

from __future__ import annotations

from pathlib import Path

from appliance.engines.tts import synthesizer
from appliance.gpu_proof.machine import machine_facts, processor_name, survey
from appliance.gpu_proof.steps import KOKORO_FOLDER, KOKORO_MODELS, STEPS


def test_processor_name_is_from_cpuinfo_or_falls_back_to_the_architecture() -> None:
    assert processor_name("processor\t: 0\nmodel name\t: Some Chip\n") == "Some Chip"
    assert processor_name("")


def test_model_is_looked_for_where_the_voice_loads_it() -> None:
    """steps.py repeats the names, because synthesizer.py needs packages that may be missing."""
    assert KOKORO_FOLDER == synthesizer.FOLDER
    assert KOKORO_MODELS == (synthesizer.TORCH_MODEL, synthesizer.ONNX_MODEL)


def test_folder_with_voices_but_without_a_model_is_not_enough(tmp_path: Path) -> None:
    folder = tmp_path / KOKORO_FOLDER
    (folder / "voices").mkdir(parents=True)
    assert not survey(STEPS, tmp_path).has_model
    (folder / KOKORO_MODELS[1]).touch()
    machine = survey(STEPS, tmp_path)
    assert machine.has_model
    assert machine.model_packages == ("onnx",)
    (folder / KOKORO_MODELS[0]).touch()
    assert survey(STEPS, tmp_path).model_packages == ()


def test_facts_say_why_there_is_no_card() -> None:
    facts = machine_facts()
    assert facts["card"].startswith("none: ") or facts["driver"]
    assert facts["processor"]
