"""A folder that was built here, in the lock and out of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from appliance.errors import BadSetting, SealBroken
from appliance.weights import manifest, seal
from ops.bundle.__main__ import main
from ops.bundle.built import check_name, kept, notice
from ops.bundle.fetch import Wish, fetch
from tests.golden.parts import take_apart
from tests.ops.bundle.packages_made_here import stock

NAME = "ultravox-tiny"


class Sealed:
    """Weights with other models in them, their lock, and the parts of ours."""

    def __init__(self, tmp: Path) -> None:
        self.registry, self.others = stock(tmp / "registry")
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
        said: list[str] = []
        download = self.registry.download
        fetch(self.weights, self.manifest, self.cache, Wish(profile), said.append, download)
        return said


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path)


def test_what_was_built_is_listed_and_verified_byte_by_byte(sealed: Sealed) -> None:
    assert sealed.build() == 0
    report = seal.verify(sealed.weights, sealed.manifest, "gpu")
    assert report.files == len(sealed.manifest.of_source(NAME)) == 10
    file = sealed.weights / NAME / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(SealBroken, match=r"model\.safetensors was changed"):
        seal.verify(sealed.weights, sealed.manifest, "gpu")


def test_the_lock_says_what_each_file_was_made_of(sealed: Sealed) -> None:
    sealed.build()
    lock = sealed.manifest
    weights = {Path(weight.path).name: weight for weight in lock.of_source(NAME)}
    config = [lock.packages[key] for key in weights["config.json"].packages]
    assert [package.name for package in config] == [
        f"{NAME}/adapter/config.json",
        f"{NAME}/text/config.json",
    ]
    adapter, text, _ = sealed.parts
    for package, folder in zip(config, (adapter, text), strict=True):
        assert package.registry == "hub"
        assert package.sha256 == seal.sha256_of(folder / "config.json")
        assert package.sha256.startswith(package.version)
    assert all(part.endswith(":tensors") for part in weights["model.safetensors"].parts)


def test_licences_and_origins_are_told(sealed: Sealed) -> None:
    sealed.build("--profiles", "gpu,cpu")
    source = sealed.manifest.sources[NAME]
    assert "MIT" in source.licence
    assert "Llama 3.1 Community License" in source.licence
    assert "fixie-ai/ultravox-v0_5-llama-3_1-8b" in source.origin
    assert source.profiles == ("gpu", "cpu")
    text = (sealed.weights / NAME / "NOTICE").read_text(encoding="utf-8")
    assert "Llama 3.1 is licensed under the Llama 3.1 Community License" in text


def test_another_licence_and_origin_stand_as_they_were_given() -> None:
    assert notice("ours", "Apache-2.0") == "Origin: ours\nLicence: Apache-2.0\n"


def test_what_was_sealed_before_stays(sealed: Sealed) -> None:
    sealed.build()
    assert sealed.manifest.sources.keys() == {*sealed.others.sources, NAME}
    assert set(sealed.others.weights) <= set(sealed.manifest.weights)


def test_building_again_lists_it_once_and_forgets_old_inputs(sealed: Sealed) -> None:
    sealed.build()
    before = sealed.lock.read_text(encoding="utf-8")
    sealed.build()
    assert sealed.lock.read_text(encoding="utf-8") == before
    licence = sealed.parts[1] / "LICENSE"
    licence.unlink()
    sealed.build()
    assert not any("LICENSE" in key for key in sealed.manifest.packages)


def test_a_new_lock_keeps_what_was_built(sealed: Sealed) -> None:
    sealed.build()
    merged = kept(sealed.manifest, sealed.others)
    assert manifest.render(merged) == manifest.render(sealed.manifest)
    assert kept(sealed.others, sealed.others) == sealed.others


def test_fetch_never_asks_a_registry_for_it_and_says_how_it_is_made(sealed: Sealed) -> None:
    sealed.build()
    assert "all here" in sealed.fetch("gpu")[-1]
    shutil.rmtree(sealed.weights / NAME)
    said = "".join(sealed.fetch("gpu"))
    assert f"{NAME} is not here as the lock has it" in said
    assert "python -m ops.bundle ultravox" in said
    assert not any(NAME in key for key in sealed.registry.served)


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "a/b"])
def test_a_name_that_is_no_name_is_refused(sealed: Sealed, name: str) -> None:
    assert sealed.build(name=name) == BadSetting.exit_code
    assert not sealed.weights.exists()


def test_another_models_folder_is_never_replaced(sealed: Sealed) -> None:
    first = dataclasses.replace(sealed.others.weights[0], path="shared/model.gguf")
    lock = dataclasses.replace(sealed.others, weights=(first,))
    with pytest.raises(BadSetting, match=f"belongs to {first.source}"):
        check_name(lock, "shared")
    with pytest.raises(BadSetting, match="not built here"):
        check_name(lock, first.source)


def test_a_refusal_changes_no_lock(sealed: Sealed, capsys: pytest.CaptureFixture[str]) -> None:
    (sealed.parts[0] / "config.json").write_text("{}", encoding="utf-8")
    before = sealed.lock.read_bytes()
    assert sealed.build() != 0
    assert sealed.lock.read_bytes() == before
    assert "error: The model file" in capsys.readouterr().err


def test_a_lock_is_made_where_there_is_none(sealed: Sealed) -> None:
    sealed.lock.unlink()
    assert sealed.build() == 0
    assert json.loads(sealed.lock.read_text(encoding="utf-8"))["sources"].keys() == {NAME}
