"""The production model's folder, built from inputs as they are published."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint, NoSpace
from appliance.weights import checkpoint
from appliance.weights.checkpoint.folder import SINGLE
from ops.bundle import shards, ultravox
from ops.bundle.shards import WrittenFile
from ops.bundle.ultravox import UltravoxInputs, build, find_inputs
from tests.golden.parts import CHECKPOINT, Stored, edit, load, save, take_apart


class BuildPlace:
    """Downloaded inputs, and a weights folder to build into."""

    def __init__(self, tmp: Path, scheme: str = "", shards: int = 1) -> None:
        self.adapter, self.text, self.features = take_apart(tmp / "downloads", scheme, shards)
        self.weights = tmp / "weights"
        self.messages: list[str] = []

    @property
    def target(self) -> Path:
        return self.weights / "model"

    def inputs(self) -> UltravoxInputs:
        return find_inputs(self.adapter, self.text, self.features)

    def build(self, shard_bytes: int = 1 << 40) -> tuple[WrittenFile, ...]:
        return build(self.inputs(), self.target, "A notice.\n", shard_bytes, self.messages.append)

    def refused(self, complaint: str) -> str:
        """Build, expect a refusal without leftovers, and return its message."""
        with pytest.raises(BadCheckpoint, match=complaint) as caught:
            self.build()
        assert not self.weights.exists() or not list(self.weights.iterdir())
        return str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> BuildPlace:
    return BuildPlace(tmp_path)


def test_golden_checkpoint_is_rebuilt_byte_for_byte(place: BuildPlace) -> None:
    place.build()
    assert (place.target / SINGLE).read_bytes() == (CHECKPOINT / SINGLE).read_bytes()
    config = json.loads((place.target / "config.json").read_text(encoding="utf-8"))
    assert config == json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("scheme", ["", "int8", "fp8", "w4a16"])
def test_sharded_llama_gives_a_complete_folder(tmp_path: Path, scheme: str) -> None:
    place = BuildPlace(tmp_path, scheme, shards=3)
    place.build()
    assert checkpoint.read(place.target).quantization == scheme
    audio = {
        name: stored for name, stored in load(place.target / SINGLE).items() if "audio" in name
    }
    assert audio == {n: stored for n, stored in load(CHECKPOINT / SINGLE).items() if "audio" in n}


def test_folder_has_no_code_and_no_remote_references(place: BuildPlace) -> None:
    place.build()
    assert {path.name for path in place.target.iterdir()} == {
        *(path.name for path in CHECKPOINT.iterdir()),
        "LICENSE",
        "NOTICE",
    }
    everything = "".join(path.read_text(encoding="utf-8") for path in place.target.glob("*.json"))
    for word in ("meta-llama", "openai", "auto_map", "ultravox_model", "chat_template"):
        assert word not in everything


def test_quantisation_is_at_the_top_level_and_ignores_the_audio_tower(tmp_path: Path) -> None:
    place = BuildPlace(tmp_path, "int8")
    llama = json.loads((place.text / "config.json").read_text(encoding="utf-8"))
    old = load(CHECKPOINT / SINGLE)
    tensors = load(place.text / SINGLE)
    kept = "model.layers.1.mlp.down_proj"
    del tensors[f"{kept}.weight_scale"]
    tensors[f"{kept}.weight"] = old[f"language_model.{kept}.weight"]
    save(place.text / SINGLE, tensors)
    llama["quantization_config"]["ignore"] = ["lm_head", kept]
    (place.text / "config.json").write_text(json.dumps(llama), encoding="utf-8")
    place.build()
    config = json.loads((place.target / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config["text_config"]
    assert config["quantization_config"]["ignore"] == [
        "lm_head",
        "re:audio_tower.*",
        "re:multi_modal_projector.*",
        f"language_model.{kept}",
    ]


def test_build_returns_every_file_with_size_and_inputs(place: BuildPlace) -> None:
    files = place.build(shard_bytes=300_000)
    assert {file.name for file in files} == {path.name for path in place.target.iterdir()}
    for file in files:
        assert file.size_bytes == (place.target / file.name).stat().st_size
    config = next(file for file in files if file.name == "config.json")
    assert [place.inputs().key(path) for path, _ in config.made_of] == [
        "adapter/config.json",
        "text/config.json",
    ]


def test_second_build_replaces_the_first_and_leftovers_of_an_interrupted_one(
    place: BuildPlace,
) -> None:
    place.build()
    (place.target / "stray.txt").write_text("x", encoding="utf-8")
    leftover = place.weights / ".model.partial"
    leftover.mkdir()
    (leftover / "half").write_text("x", encoding="utf-8")
    place.build()
    assert [path.name for path in place.weights.iterdir()] == ["model"]
    checkpoint.read(place.target)


def test_missing_processor_settings_of_older_repositories_are_added(place: BuildPlace) -> None:
    edit(place.adapter / "processor_config.json", audio_context_size=None, audio_placeholder=None)
    place.build()
    tree = json.loads((place.target / "processor_config.json").read_text(encoding="utf-8"))
    assert tree["audio_context_size"] == 3000


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "weights.PKL"])
@pytest.mark.parametrize("role", ["adapter", "text"])
def test_pickled_weights_are_refused(place: BuildPlace, role: str, name: str) -> None:
    (getattr(place, role) / name).write_bytes(b"\x80\x04.")
    assert name in place.refused("may be a pickle")


def test_pickle_named_safetensors_is_refused(place: BuildPlace) -> None:
    (place.text / SINGLE).write_bytes(b"\x80\x04\x95" + b"x" * 100)
    place.refused(r"text/model\.safetensors.*header length of")


def test_adapter_with_a_remote_audio_tower_is_refused(place: BuildPlace) -> None:
    edit(place.adapter / "config.json", audio_model_id="openai/whisper-large-v3-turbo")
    place.refused("audio tower is in another repository, 'openai/whisper-large-v3-turbo'")


def test_text_model_with_its_own_code_is_refused(place: BuildPlace) -> None:
    edit(place.text / "config.json", auto_map={"AutoModel": "x.Y"})
    place.refused("not a plain Llama")


def test_adapter_for_another_llama_is_refused(place: BuildPlace) -> None:
    edit(place.text / "config.json", vocab_size=128)
    place.refused(r"vocab_size is 512, but in text_config it is 128")


def test_missing_tensor_is_named_with_its_folder(place: BuildPlace) -> None:
    tensors = load(place.text / SINGLE)
    del tensors["model.norm.weight"]
    save(place.text / SINGLE, tensors)
    assert str(place.text) in place.refused(r"language_model\.model\.norm\.weight is missing")


def test_wrong_shape_is_named_with_its_file(place: BuildPlace) -> None:
    tensors = load(place.adapter / SINGLE)
    old = tensors["multi_modal_projector.linear_2.weight"]
    tensors["multi_modal_projector.linear_2.weight"] = old._replace(shape=(64, 128))
    save(place.adapter / SINGLE, tensors)
    assert str(place.adapter / SINGLE) in place.refused(r"shape \(64, 128\)")


def test_float16_llama_is_refused_instead_of_cast(place: BuildPlace) -> None:
    tensors = load(place.text / SINGLE)
    old = tensors["model.norm.weight"]
    tensors["model.norm.weight"] = Stored("F16", old.shape, old.data)
    save(place.text / SINGLE, tensors)
    place.refused("F16 instead of BF16: vLLM would cast it silently")


def test_tokenizer_without_audio_token_is_refused_before_anything_is_written(
    place: BuildPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(place.adapter / "tokenizer.json", added_tokens=[])
    monkeypatch.setattr(ultravox, "write_shards", None)
    place.refused(r"<\|audio\|> has the ids \[\]")


def test_mel_settings_of_another_whisper_are_refused(place: BuildPlace) -> None:
    edit(place.features / "preprocessor_config.json", feature_size=80)
    place.refused("feature_size is 80")


def test_full_disk_is_noticed_before_anything_is_written(
    place: BuildPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 60_000_000))
    with pytest.raises(NoSpace, match="60,000,000 bytes free; 65,401,728 are needed"):
        place.build()
    assert not place.weights.exists()


@pytest.mark.parametrize("problem", [OSError(28, "No space left"), OSError(5, "I/O error", "/d/x")])
def test_disk_error_leaves_the_old_folder_and_no_leftovers(
    place: BuildPlace, monkeypatch: pytest.MonkeyPatch, problem: OSError
) -> None:
    place.build()
    before = (place.target / "config.json").stat().st_ino

    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(shards, "_read_tensor", fail)
    with pytest.raises(NoSpace if problem.errno == 28 else BadCheckpoint):
        place.build()
    assert [path.name for path in place.weights.iterdir()] == ["model"]
    assert (place.target / "config.json").stat().st_ino == before


def test_missing_input_folder_is_refused(place: BuildPlace) -> None:
    shutil.rmtree(place.text)
    place.refused("does not exist")


def test_features_may_be_a_file_or_its_folder(place: BuildPlace) -> None:
    inputs = find_inputs(place.adapter, place.text, place.features / "preprocessor_config.json")
    assert inputs == place.inputs()
