"""`python -m appliance plan`, for the card that is here and for others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint, BadSetting, TooLittleMemory
from appliance.gpu.page import told
from appliance.settings import Settings, load
from tests.fakes import NVML_A10, NVML_L4, FakeNvml

GPU = {"VOICE_PROFILE": "gpu"}


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)
    return load({**GPU, "VOICE_PATHS_WEIGHTS": str(tmp_path)})


def test_a_card_that_is_not_here_can_be_asked_about(given: Settings) -> None:
    text = told(given, "A10", "int8")
    assert "NVIDIA A10 (22.1 GiB)" in text
    assert "int8 weights" in text


def test_without_weights_the_kind_that_suits_the_card_is_taken_and_said(given: Settings) -> None:
    assert "reckoned with fp8 weights" in told(given, "L4", "")
    assert "reckoned with w4a16 weights" in told(given, "A10", "")


def test_the_first_card_that_is_here_is_planned_and_the_others_are_named(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(NVML_L4, NVML_A10))  # type: ignore[arg-type]
    text = told(given, "", "fp8")
    assert "NVIDIA L4 (22.0 GiB), compute capability 8.9, driver 580.95.05" in text
    assert "not used: NVIDIA A10" in text


def test_without_a_card_the_reason_is_told(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeNvml(broken="Driver Not Loaded")
    monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
    text = told(given, "", "")
    assert "No card: the driver cannot be asked: Driver Not Loaded." in text
    assert "--card" in text


def test_the_sealed_folder_s_own_weights_are_looked_at(given: Settings) -> None:
    (given.paths.weights / given.llm.model).mkdir()
    with pytest.raises(BadCheckpoint):
        told(given, "L4", "")


def test_what_does_not_fit_is_refused_as_at_the_start(given: Settings) -> None:
    crowded = load({**GPU, "VOICE_LLM_MAX_SEQUENCES": "50"})
    with pytest.raises(TooLittleMemory):
        told(crowded, "L4", "fp8")


@pytest.mark.parametrize(("card", "weights"), [("GTX 1080", ""), ("L4", "w2a16")])
def test_unknown_names_are_refused_with_the_known_ones(
    given: Settings, card: str, weights: str
) -> None:
    with pytest.raises(BadSetting, match=r"none of bf16|one of: NVIDIA A10"):
        told(given, card, weights)
