"""Built model folders in the lock: added, replaced, kept, and never fetched."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from appliance.errors import BadSetting, SealBroken
from appliance.weights import manifest, seal
from appliance.weights.choices import LLM_MODEL, choices, choose
from ops.bundle.__main__ import main
from ops.bundle.fetch import FetchOptions, fetch
from ops.bundle.lock_edits import check_name, keep_built, notice_text
from tests.golden.parts import take_apart
from tests.ops.bundle.fake_registry import make_registry, with_choice

NAME = "ultravox-tiny"


class LockPlace:
    """A lock with other models, a weights folder, and the inputs of the built model."""

    def __init__(self, tmp: Path) -> None:
        self.registry, self.others = make_registry(tmp / "registry")
        self.weights, self.lock, self.cache = tmp / "weights", tmp / "lock.json", tmp / "cache"
        self.parts = take_apart(tmp / "downloads")
        self.lock.write_text(manifest.render(self.others), encoding="utf-8")

    def build(self, *more: str, name: str = NAME) -> int:
        flags = zip(("--adapter", "--text", "--features"), self.parts, strict=True)
        places = [str(word) for pair in flags for word in pair]
        places += ["--weights", str(self.weights), "--lock", str(self.lock)]
        return main(["ultravox", *places, "--cache", str(self.cache), "--name", name, *more])

    @property
    def manifest(self) -> manifest.Manifest:
        return manifest.read(self.lock)

    def fetch(self, profile: str) -> list[str]:
        messages: list[str] = []
        download = self.registry.download
        fetch(
            self.weights,
            self.manifest,
            self.cache,
            FetchOptions(profile),
            messages.append,
            download,
        )
        return messages


@pytest.fixture
def place(tmp_path: Path) -> LockPlace:
    return LockPlace(tmp_path)


def test_built_folder_is_listed_and_verified_byte_by_byte(place: LockPlace) -> None:
    assert place.build() == 0
    report = seal.verify(place.weights, place.manifest, "gpu")
    assert report.files == len(place.manifest.of_source(NAME)) == 10
    file = place.weights / NAME / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(SealBroken, match=r"model\.safetensors was changed"):
        seal.verify(place.weights, place.manifest, "gpu")


def test_lock_has_the_inputs_of_each_built_file(place: LockPlace) -> None:
    place.build()
    lock = place.manifest
    weights = {Path(weight.path).name: weight for weight in lock.of_source(NAME)}
    config = [lock.packages[key] for key in weights["config.json"].packages]
    assert [package.name for package in config] == [
        f"{NAME}/adapter/config.json",
        f"{NAME}/text/config.json",
    ]
    adapter, text, _ = place.parts
    for package, folder in zip(config, (adapter, text), strict=True):
        assert package.registry == "hub"
        assert package.sha256 == seal.sha256_of(folder / "config.json")
        assert package.sha256.startswith(package.version)
    assert all(part.endswith(":tensors") for part in weights["model.safetensors"].parts)


def test_lock_and_notice_have_licences_and_origins(place: LockPlace) -> None:
    place.build("--profiles", "gpu,cpu")
    source = place.manifest.sources[NAME]
    assert "MIT" in source.licence
    assert "Llama 3.1 Community License" in source.licence
    assert "fixie-ai/ultravox-v0_5-llama-3_1-8b" in source.origin
    assert source.profiles == ("gpu", "cpu")
    text = (place.weights / NAME / "NOTICE").read_text(encoding="utf-8")
    assert "Llama 3.1 is licensed under the Llama 3.1 Community License" in text


def test_notice_of_another_licence_has_no_llama_attribution() -> None:
    assert notice_text("ours", "Apache-2.0") == "Origin: ours\nLicence: Apache-2.0\n"


def test_other_sources_are_kept(place: LockPlace) -> None:
    place.build()
    assert place.manifest.sources.keys() == {*place.others.sources, NAME}
    assert set(place.others.weights) <= set(place.manifest.weights)


def test_second_build_replaces_the_entries_of_the_first(place: LockPlace) -> None:
    place.build()
    before = place.lock.read_text(encoding="utf-8")
    place.build()
    assert place.lock.read_text(encoding="utf-8") == before
    licence = place.parts[1] / "LICENSE"
    licence.unlink()
    place.build()
    assert not any("LICENSE" in key for key in place.manifest.packages)


def test_relock_keeps_built_sources(place: LockPlace) -> None:
    place.build()
    merged = keep_built(place.manifest, place.others)
    assert manifest.render(merged) == manifest.render(place.manifest)
    assert keep_built(place.others, place.others) == place.others


def test_fetch_reports_a_missing_built_folder_and_asks_no_registry(place: LockPlace) -> None:
    place.build()
    assert "up to date" in place.fetch("gpu")[-1]
    shutil.rmtree(place.weights / NAME)
    messages = "".join(place.fetch("gpu"))
    assert f"{NAME} is missing or differs from the lock" in messages
    assert "python -m ops.bundle ultravox" in messages
    assert not any(NAME in key for key in place.registry.served)


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "a/b"])
def test_invalid_folder_name_is_refused(place: LockPlace, name: str) -> None:
    assert place.build(name=name) == BadSetting.exit_code
    assert not place.weights.exists()


def test_folder_of_another_source_is_not_replaced(place: LockPlace) -> None:
    first = dataclasses.replace(place.others.weights[0], path="shared/model.gguf")
    lock = dataclasses.replace(place.others, weights=(first,))
    with pytest.raises(BadSetting, match=f"belongs to {first.source}"):
        check_name(lock, "shared")
    with pytest.raises(BadSetting, match="not built here"):
        check_name(lock, first.source)


def test_failed_build_does_not_change_the_lock(
    place: LockPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.parts[0] / "config.json").write_text("{}", encoding="utf-8")
    before = place.lock.read_bytes()
    assert place.build() != 0
    assert place.lock.read_bytes() == before
    assert "error: The model file" in capsys.readouterr().err


def test_missing_lock_is_created(place: LockPlace) -> None:
    place.lock.unlink()
    assert place.build() == 0
    assert json.loads(place.lock.read_text(encoding="utf-8"))["sources"].keys() == {NAME}


def test_built_model_can_be_chosen_instead_of_a_fetched_one(place: LockPlace) -> None:
    others = with_choice(place.registry, place.others)
    place.lock.write_text(manifest.render(others), encoding="utf-8")
    assert place.build("--profiles", "cpu,gpu") == 0
    assert set(choices(place.manifest, "cpu", LLM_MODEL)) == {"big", "small", NAME}
    assert list(choices(place.manifest, "gpu", LLM_MODEL)) == [NAME]
    chosen = choose(place.manifest, "cpu", {LLM_MODEL: NAME})
    run = {source.name for source in chosen.for_profile("cpu") if source.purpose == "run"}
    assert run == {NAME, "voices"}
