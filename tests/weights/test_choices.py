"""Choosing one of several models by a setting: what the seal then requires, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import BadSetting, ModelNotInstalled, SealBroken
from appliance.settings import LLMConfig, PathsConfig, Settings
from appliance.weights import manifest, seal
from appliance.weights.choices import (
    LLM_MODEL,
    check_models,
    choices,
    choose,
    named_in,
    read_chosen,
    settings_with_choices,
)
from appliance.weights.manifest import Manifest
from ops.bundle.fetch import FetchOptions, fetch
from tests.conftest import FAST_MODEL
from tests.ops.bundle.fake_registry import FakeRegistry, make_registry, with_choice

LOCK = Path(__file__).resolve().parents[2] / "image-manifest.lock"
CpuSettings = Callable[[str], Settings]


@pytest.fixture
def registry(tmp_path: Path) -> tuple[FakeRegistry, Manifest]:
    """A registry with the models `big` (the default) and `small`, and its lock."""
    made, lock = make_registry(tmp_path / "registry")
    return made, with_choice(made, lock)


@pytest.fixture
def lock(registry: tuple[FakeRegistry, Manifest]) -> Manifest:
    return registry[1]


def purposes(lock: Manifest) -> dict[str, str]:
    return {name: source.purpose for name, source in lock.sources.items()}


def test_default_of_the_settings_is_that_of_the_real_lock() -> None:
    real = manifest.read(LOCK)
    assert settings_with_choices(real, "cpu") == (LLM_MODEL,)
    found = choices(real, "cpu", LLM_MODEL)
    run = [folder for folder, source in found.items() if source.purpose == "run"]
    assert run == [LLMConfig().model]
    assert FAST_MODEL in found


def test_chosen_model_takes_the_place_of_the_default(lock: Manifest) -> None:
    assert list(choices(lock, "cpu", LLM_MODEL)) == ["big", "small"]
    before = {"big": "run", "small": "choice", "test": "test", "voices": "run"}
    assert purposes(choose(lock, "cpu", {})) == before
    chosen = choose(lock, "cpu", {LLM_MODEL: "small"})
    assert purposes(chosen) == before | {"big": "choice", "small": "run"}
    assert purposes(choose(chosen, "cpu", {LLM_MODEL: "big"})) == before


def test_setting_without_choices_in_the_profile_changes_nothing(lock: Manifest) -> None:
    assert choose(lock, "gpu", {LLM_MODEL: "anything"}) == lock
    assert choose(lock, "cpu", {"tts.model": "anything"}) == lock


def test_unknown_name_is_refused_with_the_known_ones(lock: Manifest) -> None:
    with pytest.raises(BadSetting, match=r"VOICE_LLM_MODEL.*'smal'; the models are big, small"):
        choose(lock, "cpu", {LLM_MODEL: "smal"})


def test_names_come_from_the_environment_and_an_empty_one_is_the_default(lock: Manifest) -> None:
    assert named_in({"VOICE_LLM_MODEL": "small", "LLM_MODEL": "x"}, lock, "cpu") == {
        LLM_MODEL: "small"
    }
    assert named_in({"VOICE_LLM_MODEL": ""}, lock, "cpu") == {}
    assert named_in({"VOICE_LLM_MODEL": "small"}, lock, "gpu") == {}


def test_choice_without_a_setting_makes_the_lock_invalid(lock: Manifest) -> None:
    broken = replace(lock.sources["small"], setting="")
    text = manifest.render(replace(lock, sources={**lock.sources, "small": broken}))
    with pytest.raises(ValueError, match="small: a choice without a setting"):
        manifest.parse(text)


def test_setting_survives_reading_and_writing(lock: Manifest) -> None:
    text = manifest.render(lock)
    assert manifest.parse(text).sources == lock.sources
    assert "setting" not in json.loads(text)["sources"]["voices"]


@pytest.fixture
def installed(
    registry: tuple[FakeRegistry, Manifest], tmp_path: Path
) -> Callable[[str], CpuSettings]:
    """`installed(MODEL)`: fetch a model; returns a function that makes settings with a model."""
    made, lock = registry
    paths = PathsConfig(weights=tmp_path / "weights", lock=tmp_path / "lock")
    paths.lock.write_text(manifest.render(lock))

    def install(model: str) -> CpuSettings:
        chosen = choose(lock, "cpu", {LLM_MODEL: model})
        cache, options = tmp_path / "cache", FetchOptions()
        fetch(paths.weights, chosen, cache, options, lambda line: None, made.download)
        return lambda name: Settings(paths=paths, llm=LLMConfig(model=name))

    return install


def verify(settings: Settings) -> int:
    return seal.verify(settings.paths.weights, read_chosen(settings), settings.profile).files


@pytest.mark.parametrize(("model", "other"), [("big", "small"), ("small", "big")])
def test_seal_requires_the_chosen_model_only(
    installed: Callable[[str], CpuSettings], model: str, other: str
) -> None:
    settings = installed(model)
    assert verify(settings(model)) == 3
    with pytest.raises(SealBroken, match=rf"{other}/model\.gguf is missing"):
        verify(settings(other))


def test_seal_allows_several_models_if_each_is_complete(
    installed: Callable[[str], CpuSettings],
) -> None:
    installed("big")
    settings = installed("small")
    assert verify(settings("big")) == verify(settings("small")) == 4
    path = settings("big").paths.weights / "small/model.gguf"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(SealBroken, match=r"small/model\.gguf has"):
        verify(settings("big"))


@pytest.mark.parametrize("model", ["big", "small"])
def test_installed_model_is_accepted(installed: Callable[[str], CpuSettings], model: str) -> None:
    check_models(installed(model)(model))


@pytest.mark.parametrize(("model", "other"), [("big", "small"), ("small", "big"), ("big", "huge")])
def test_model_that_is_not_installed_is_refused_with_those_that_are(
    installed: Callable[[str], CpuSettings], model: str, other: str
) -> None:
    with pytest.raises(ModelNotInstalled) as refused:
        check_models(installed(model)(other))
    assert str(refused.value) == (
        f"The model of VOICE_LLM_MODEL is not installed: {other!r} is not here; installed: {model}."
    )
    assert "make setup" in refused.value.advice and "import it" in refused.value.advice


def test_folder_without_any_model_is_left_to_the_seal(
    installed: Callable[[str], CpuSettings], tmp_path: Path
) -> None:
    settings = replace(installed("big")("big"), paths=PathsConfig(lock=tmp_path / "lock"))
    settings = replace(settings, paths=replace(settings.paths, weights=tmp_path / "nothing"))
    check_models(settings)
    with pytest.raises(SealBroken):
        verify(settings)


def test_start_and_settings_check_name_the_model(
    installed: Callable[[str], CpuSettings], tmp_path: Path
) -> None:
    paths = installed("big")("big").paths
    values = {
        "LLM_MODEL": "small",
        "PATHS_WEIGHTS": paths.weights,
        "PATHS_LOCK": paths.lock,
        "PATHS_RUN": tmp_path / "run",
    }
    environ = os.environ | {f"VOICE_{name}": str(value) for name, value in values.items()}

    def appliance(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "appliance", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    checked = appliance("settings", "--check")
    assert checked.returncode == 78
    first, *_voice = checked.stdout.splitlines()  # the lock of this test has other voices, too
    assert first == "VOICE_LLM_MODEL: 'small' is not here; installed: big"
    refused = appliance("boot")
    assert refused.returncode == 78
    line = json.loads((refused.stdout + refused.stderr).splitlines()[-1])
    assert line["reason"] == "model_not_installed"
    assert "installed: big" in line["what"]
    assert "make setup" in line["advice"]
