"""The first step: what NVML reports, and the plan for the card."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.gpu_proof import driver
from appliance.gpu_proof.record import Record, Step, to_tree
from appliance.gpu_proof.recording import ReplayedNvml
from appliance.gpu_proof.results import StepOptions
from appliance.gpu_proof.runner import interpret
from tests.fakes import NVML_L4, FakeNvml, NvmlAnswers


@pytest.fixture
def options(tmp_path: Path) -> StepOptions:
    return StepOptions("cpu", "tiny", 60.0, tmp_path, tmp_path, tmp_path / "results.jsonl")


def run(options: StepOptions, monkeypatch: pytest.MonkeyPatch, *cards: NvmlAnswers) -> Step:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*cards))
    assert driver.main(options) == 0
    return interpret("driver", options.results.read_text().splitlines(), 0, 1.0, "")


def test_memory_bandwidth_and_plan_of_the_card_are_recorded(
    options: StepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run(options, monkeypatch, NVML_L4)
    assert (step.state, step.why) == ("measured", "")
    values = {each.name: each.median for each in step.measurements}
    assert values["memory usable"] == pytest.approx(22.05, abs=0.01)
    assert values["bandwidth by driver / by table"] == pytest.approx(1.0, abs=0.01)
    assert any("fp8 weights suit this card" in line for line in step.data["plan"])
    assert step.data["readings"][0]["temperature_celsius"] == 55


def test_recording_can_be_replayed_after_its_serials_were_replaced(
    options: StepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = "GPU-5d3b1a77-0c42-9d1e-4a6f-2f9b8c7d6e5f"
    step = run(options, monkeypatch, replace(NVML_L4, uuid=uuid))
    tree = to_tree(Record("gpu-proof", "", "", {}, (step,)))
    assert uuid not in json.dumps(tree)
    monkeypatch.setitem(sys.modules, "pynvml", ReplayedNvml(tree["steps"][0]["data"]["nvml"]))
    [reading] = driver.read_once().readings
    assert reading.card.uuid == "GPU-00000001"
    assert reading.power_watts == 71.5


def test_machine_without_a_card_gives_the_reason(
    options: StepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run(options, monkeypatch)
    assert (step.state, step.why) == ("failed", "driver: the driver lists no card")


def test_card_with_less_memory_than_the_table_promises_is_noted(
    options: StepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run(options, monkeypatch, replace(NVML_L4, total_mib=20000))
    assert any("lower it in appliance/gpu/cards.py" in note for note in step.notes)
