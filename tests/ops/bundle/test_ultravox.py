"""The production model's folder, built from parts as they are published."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint, NoSpace
from appliance.weights import checkpoint
from appliance.weights.checkpoint.folder import WHOLE
from ops.bundle import shards, ultravox
from ops.bundle.shards import Written
from ops.bundle.ultravox import Inputs, build, inputs
from tests.golden.parts import CHECKPOINT, Stored, edit, load, save, take_apart


class Parts:
    """Downloads in a folder, and what is built of them beside it."""

    def __init__(self, tmp: Path, scheme: str = "", shards: int = 1) -> None:
        self.adapter, self.text, self.features = take_apart(tmp / "downloads", scheme, shards)
        self.weights = tmp / "weights"
        self.said: list[str] = []

    @property
    def target(self) -> Path:
        return self.weights / "model"

    def inputs(self) -> Inputs:
        return inputs(self.adapter, self.text, self.features)

    def build(self, shard_bytes: int = 1 << 40) -> tuple[Written, ...]:
        return build(self.inputs(), self.target, "A notice.\n", shard_bytes, self.said.append)

    def refused(self, complaint: str) -> str:
        """Builds, expects a refusal, and that nothing was left behind. Returns its words."""
        with pytest.raises(BadCheckpoint, match=complaint) as caught:
            self.build()
        assert not self.weights.exists() or not list(self.weights.iterdir())
        return str(caught.value)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_the_golden_checkpoint_is_built_from_its_parts_byte_for_byte(parts: Parts) -> None:
    parts.build()
    assert (parts.target / WHOLE).read_bytes() == (CHECKPOINT / WHOLE).read_bytes()
    ours = json.loads((parts.target / "config.json").read_text(encoding="utf-8"))
    assert ours == json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("scheme", ["", "int8", "fp8", "w4a16"])
def test_a_llama_in_shards_ends_in_a_whole_folder(tmp_path: Path, scheme: str) -> None:
    parts = Parts(tmp_path, scheme, shards=3)
    parts.build()
    assert checkpoint.read(parts.target).quantization == scheme
    ears = {name: stored for name, stored in load(parts.target / WHOLE).items() if "audio" in name}
    assert ears == {n: stored for n, stored in load(CHECKPOINT / WHOLE).items() if "audio" in n}


def test_nothing_remote_and_no_code_comes_along(parts: Parts) -> None:
    parts.build()
    assert {path.name for path in parts.target.iterdir()} == {
        *(path.name for path in CHECKPOINT.iterdir()),
        "LICENSE",
        "NOTICE",
    }
    everything = "".join(path.read_text(encoding="utf-8") for path in parts.target.glob("*.json"))
    for word in ("meta-llama", "openai", "auto_map", "ultravox_model", "chat_template"):
        assert word not in everything


def test_the_quantisation_stands_at_the_top_and_spares_the_ears(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "int8")
    llama = json.loads((parts.text / "config.json").read_text(encoding="utf-8"))
    old = load(CHECKPOINT / WHOLE)
    tensors = load(parts.text / WHOLE)
    kept = "model.layers.1.mlp.down_proj"
    del tensors[f"{kept}.weight_scale"]
    tensors[f"{kept}.weight"] = old[f"language_model.{kept}.weight"]
    save(parts.text / WHOLE, tensors)
    llama["quantization_config"]["ignore"] = ["lm_head", kept]
    (parts.text / "config.json").write_text(json.dumps(llama), encoding="utf-8")
    parts.build()
    config = json.loads((parts.target / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config["text_config"]
    assert config["quantization_config"]["ignore"] == [
        "lm_head",
        "re:audio_tower.*",
        "re:multi_modal_projector.*",
        f"language_model.{kept}",
    ]


def test_the_result_is_told_file_by_file(parts: Parts) -> None:
    files = parts.build(shard_bytes=300_000)
    assert {file.name for file in files} == {path.name for path in parts.target.iterdir()}
    for file in files:
        assert file.size_bytes == (parts.target / file.name).stat().st_size
    config = next(file for file in files if file.name == "config.json")
    assert [parts.inputs().key(path) for path, _ in config.made_of] == [
        "adapter/config.json",
        "text/config.json",
    ]


def test_a_second_build_replaces_the_first_and_what_an_interrupted_one_left(parts: Parts) -> None:
    parts.build()
    (parts.target / "stray.txt").write_text("x", encoding="utf-8")
    leftover = parts.weights / ".model.partial"
    leftover.mkdir()
    (leftover / "half").write_text("x", encoding="utf-8")
    parts.build()
    assert [path.name for path in parts.weights.iterdir()] == ["model"]
    checkpoint.read(parts.target)


def test_processor_settings_that_older_repositories_lack_are_filled_in(parts: Parts) -> None:
    edit(parts.adapter / "processor_config.json", audio_context_size=None, audio_placeholder=None)
    parts.build()
    tree = json.loads((parts.target / "processor_config.json").read_text(encoding="utf-8"))
    assert tree["audio_context_size"] == 3000


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "weights.PKL"])
@pytest.mark.parametrize("role", ["adapter", "text"])
def test_weights_in_a_pickle_are_refused(parts: Parts, role: str, name: str) -> None:
    (getattr(parts, role) / name).write_bytes(b"\x80\x04.")
    assert name in parts.refused("may be a pickle")


def test_a_pickle_under_another_name_is_no_safetensors_file(parts: Parts) -> None:
    (parts.text / WHOLE).write_bytes(b"\x80\x04\x95" + b"x" * 100)
    parts.refused(r"text/model\.safetensors.*header of")


def test_an_adapter_whose_ears_are_elsewhere_is_refused(parts: Parts) -> None:
    edit(parts.adapter / "config.json", audio_model_id="openai/whisper-large-v3-turbo")
    parts.refused("audio tower is elsewhere, in 'openai/whisper-large-v3-turbo'")


def test_a_text_model_with_code_of_its_own_is_refused(parts: Parts) -> None:
    edit(parts.text / "config.json", auto_map={"AutoModel": "x.Y"})
    parts.refused("no plain Llama")


def test_an_adapter_for_another_llama_is_refused(parts: Parts) -> None:
    edit(parts.text / "config.json", vocab_size=128)
    parts.refused(r"vocab_size is 512, text_config's 128")


def test_a_missing_tensor_is_named_with_the_folder_it_belongs_to(parts: Parts) -> None:
    tensors = load(parts.text / WHOLE)
    del tensors["model.norm.weight"]
    save(parts.text / WHOLE, tensors)
    assert str(parts.text) in parts.refused(r"language_model\.model\.norm\.weight is missing")


def test_a_wrong_shape_is_named_with_its_file(parts: Parts) -> None:
    tensors = load(parts.adapter / WHOLE)
    old = tensors["multi_modal_projector.linear_2.weight"]
    tensors["multi_modal_projector.linear_2.weight"] = old._replace(shape=(64, 128))
    save(parts.adapter / WHOLE, tensors)
    assert str(parts.adapter / WHOLE) in parts.refused(r"shape \(64, 128\)")


def test_a_half_precision_llama_is_refused_rather_than_cast(parts: Parts) -> None:
    tensors = load(parts.text / WHOLE)
    old = tensors["model.norm.weight"]
    tensors["model.norm.weight"] = Stored("F16", old.shape, old.data)
    save(parts.text / WHOLE, tensors)
    parts.refused("F16 in place of BF16: vLLM would cast it silently")


def test_a_tokenizer_that_does_not_know_audio_is_refused_before_anything_is_written(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(parts.adapter / "tokenizer.json", added_tokens=[])
    monkeypatch.setattr(ultravox, "write", None)
    parts.refused(r"<\|audio\|> has the ids \[\]")


def test_mel_settings_of_another_whisper_are_refused(parts: Parts) -> None:
    edit(parts.features / "preprocessor_config.json", feature_size=80)
    parts.refused("feature_size is 80")


def test_a_full_disk_is_noticed_before_anything_is_written(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 60_000_000))
    with pytest.raises(NoSpace, match="60,000,000 bytes free, and 65,401,728 are needed"):
        parts.build()
    assert not parts.weights.exists()


@pytest.mark.parametrize("problem", [OSError(28, "No space left"), OSError(5, "I/O error", "/d/x")])
def test_a_disk_that_fails_midway_leaves_the_old_folder_and_nothing_else(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, problem: OSError
) -> None:
    parts.build()
    before = (parts.target / "config.json").stat().st_ino

    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(shards, "_copied", fail)
    with pytest.raises(NoSpace if problem.errno == 28 else BadCheckpoint):
        parts.build()
    assert [path.name for path in parts.weights.iterdir()] == ["model"]
    assert (parts.target / "config.json").stat().st_ino == before


def test_a_folder_that_was_never_downloaded_is_refused(parts: Parts) -> None:
    shutil.rmtree(parts.text)
    parts.refused("no such folder")


def test_features_may_be_given_as_the_file_itself(parts: Parts) -> None:
    given = inputs(parts.adapter, parts.text, parts.features / "preprocessor_config.json")
    assert given == parts.inputs()
