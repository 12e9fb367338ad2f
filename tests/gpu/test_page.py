"""The text and options of `python -m appliance plan`, and the tables of docs/hardware.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint, TooLittleMemory
from appliance.gpu import page
from appliance.gpu.cards import CARD_MODELS, GIB, GpuCard, find_model, recommend_weights
from appliance.gpu.page import describe_plan
from appliance.gpu.planning import plan
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.settings import Settings, load
from tests.fakes import NVML_A10, NVML_L4, FakeNvml

DOCUMENT = Path(__file__).parents[2] / "docs" / "hardware.md"
GPU = {"VOICE_PROFILE": "gpu"}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The gpu profile without weights."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)
    return load({**GPU, "VOICE_PATHS_WEIGHTS": str(tmp_path)})


# The plan.


def test_plan_for_a_card_that_is_not_installed(settings: Settings) -> None:
    text = describe_plan(settings, "A10", "int8")
    assert "NVIDIA A10 (22.1 GiB)" in text
    assert "int8 weights" in text


def test_plan_without_weights_uses_and_names_the_recommended_kind(settings: Settings) -> None:
    assert "computed for fp8 weights" in describe_plan(settings, "L4")
    assert "computed for w4a16 weights" in describe_plan(settings, "A10")


def test_plan_is_for_the_first_installed_card_and_names_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(NVML_L4, NVML_A10))
    text = describe_plan(settings, weights="fp8")
    assert "NVIDIA L4 (22.0 GiB), compute capability 8.9, driver 580.95.05" in text
    assert "not used: NVIDIA A10" in text


def test_plan_without_a_card_gives_the_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeNvml(broken="Driver Not Loaded")
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    text = describe_plan(settings)
    assert "No card: the driver cannot be opened: Driver Not Loaded." in text
    assert "--card" in text


def test_plan_reads_the_sealed_weights(settings: Settings) -> None:
    (settings.paths.weights / settings.llm.model).mkdir()
    with pytest.raises(BadCheckpoint):
        describe_plan(settings, "L4")


def test_plan_that_does_not_fit_raises_the_same_error_as_at_startup() -> None:
    with pytest.raises(TooLittleMemory):
        describe_plan(load({**GPU, "VOICE_LLM_MAX_SEQUENCES": "50"}), "L4", "fp8")


def test_plan_shows_the_budget_the_reasons_and_the_maximum_speed() -> None:
    model = find_model("L4")
    assert model
    text = page.format_plan(model.as_card(), ultravox_8b("fp8"), load(GPU))
    for expected in ("Kokoro", "headroom", "memory fraction 0.87", "at most 37 tokens", "321 ms"):
        assert expected in text
    assert "not measured" in text


def test_plan_for_an_unknown_card_says_that_its_speed_is_unknown() -> None:
    unknown = GpuCard("NVIDIA X", 40 * GIB, 40 * GIB, (8, 9), "580")
    assert "speed unknown" in page.format_plan(unknown, ultravox_8b("fp8"), load(GPU))


# The options.


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="plan")
    page.add_plan_options(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "arguments", [["--card", "GTX 1080"], ["--weights", "w2a16"]], ids=lambda words: words[0]
)
def test_error_for_an_unknown_choice_lists_the_known_ones(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        parse(*arguments)
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert f"argument {arguments[0]}: invalid choice: '{arguments[1]}'" in message
    known = KINDS if arguments[0] == "--weights" else ("A10", "L4", "RTX-4090", "H100-80GB-HBM3")
    assert all(choice in message for choice in known)


@pytest.mark.parametrize("text", ["l4", "L4", "NVIDIA L4"])
def test_card_option_accepts_short_and_full_names(text: str) -> None:
    assert parse("--card", text).card == "L4"


@pytest.mark.parametrize("model", CARD_MODELS, ids=lambda model: model.short_name)
def test_every_card_of_the_table_is_a_choice(model: object) -> None:
    assert parse("--card", model.short_name).card == model.short_name  # type: ignore[attr-defined]


def test_options_default_to_the_installed_card_and_sealed_weights() -> None:
    assert (parse().card, parse().weights) == ("", "")


# The document.


def test_tables_of_the_document_are_up_to_date() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert page.update_tables(text) == text, "run: python -m appliance.gpu docs/hardware.md"


def test_document_has_every_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in page.TABLES:
        assert text.count(f"<!-- {name}: generated by") == 1


def test_document_says_what_was_not_measured() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "Nothing on this page was measured on an L4 or an A10" in text


def test_marker_of_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        page.update_tables("<!-- price: generated by python -m appliance.gpu -->\n<!-- end -->")


def test_recommended_weights_do_not_need_an_fp8_kv_cache() -> None:
    for model in CARD_MODELS:
        card = model.as_card()
        for kind in recommend_weights(card)[0]:
            assert plan(card, ultravox_8b(kind), load(GPU)).kv_dtype == "bfloat16"
