"""A complete model folder, and every kind of damage to one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint, CannotStart
from appliance.weights.checkpoint import read
from appliance.weights.checkpoint.folder import INDEX, SINGLE
from tests.golden.parts import Stored, edit, load, save

QUERIES = "language_model.model.layers.0.self_attn.q_proj"
Built = Callable[..., Path]


def test_golden_checkpoint_is_complete(plain: Path) -> None:
    checkpoint = read(plain)
    assert (checkpoint.dtype, checkpoint.quantization) == ("bfloat16", "")
    assert checkpoint.parameters == 700_864
    assert checkpoint.weights_bytes.total == 2 * 700_864
    assert checkpoint.weights_bytes.per_token == 591_104 + 131_072
    assert (checkpoint.audio_token, checkpoint.vocabulary_size) == (512, 512)
    assert checkpoint.frames_per_token == 16


def test_kv_cache_size_is_that_of_keys_and_values_of_all_layers(plain: Path) -> None:
    checkpoint = read(plain)
    assert checkpoint.kv_bytes_per_token("auto") == 2 * 2 * 2 * 32 * 2
    assert checkpoint.kv_bytes_per_token("fp8") * 4 == checkpoint.kv_bytes_per_token("float32")


@pytest.mark.parametrize("scheme", ["int8", "fp8", "w4a16"])
def test_quantised_checkpoint_is_complete(built: Built, scheme: str) -> None:
    quantised, plain = read(built(scheme)), read(built())
    assert quantised.quantization == scheme
    assert quantised.weights_bytes.layers < 0.52 * plain.weights_bytes.layers
    assert quantised.weights_bytes.audio_tower == plain.weights_bytes.audio_tower


def test_shards_are_read_as_one_model(built: Built) -> None:
    folder = built(shard_bytes=200_000)
    assert len(list(folder.glob("model-*.safetensors"))) > 5
    assert read(folder).weights_bytes == read(built()).weights_bytes


def test_damaged_folder_is_an_error_that_ends_a_start(plain: Path) -> None:
    (plain / "config.json").unlink()
    with pytest.raises(CannotStart, match=r"config\.json cannot be used: it is missing"):
        read(plain)


@pytest.mark.parametrize(
    "name",
    [
        "modeling.py",
        "pytorch_model.bin",
        "adapter.pt",
        "model.safetensors.bak",
        "model-1-of-2.safetensors",
        "hf_quant_config.json",
        ".hidden",
        "README.md",
    ],
)
def test_unknown_file_is_refused(plain: Path, name: str) -> None:
    (plain / name).write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="does not belong in a model folder") as caught:
        read(plain)
    assert name in str(caught.value)


def test_folder_with_the_name_of_a_file_is_refused(plain: Path) -> None:
    (plain / "LICENSE").mkdir()
    with pytest.raises(BadCheckpoint, match="does not belong"):
        read(plain)


def test_remote_reference_is_found_in_any_config(plain: Path) -> None:
    edit(plain / "tokenizer_config.json", name_or_path="meta-llama/Llama-3.1-8B-Instruct")
    with pytest.raises(BadCheckpoint, match=r"tokenizer_config\.json.*name_or_path"):
        read(plain)


def replace_tensor(folder: Path, name: str, stored: Stored | None) -> None:
    """Replace a tensor, or remove it."""
    tensors = load(folder / SINGLE)
    tensors.pop(name, None)
    if stored:
        tensors[name] = stored
    save(folder / SINGLE, tensors)


def test_missing_tensor_is_named(plain: Path) -> None:
    replace_tensor(plain, f"{QUERIES}.weight", None)
    with pytest.raises(BadCheckpoint, match=rf"tensor {QUERIES}\.weight is missing"):
        read(plain)


def test_extra_tensor_is_named(plain: Path) -> None:
    replace_tensor(plain, "language_model.model.rotary_emb.inv_freq", Stored("F32", (2,), b"x" * 8))
    with pytest.raises(BadCheckpoint, match="inv_freq does not belong"):
        read(plain)


def test_wrong_shape_is_named_with_the_right_one(plain: Path) -> None:
    old = load(plain / SINGLE)["multi_modal_projector.linear_1.weight"]
    replace_tensor(plain, "multi_modal_projector.linear_1.weight", old._replace(shape=(512, 128)))
    with pytest.raises(BadCheckpoint, match=r"shape \(512, 128\) instead of \(128, 512\)"):
        read(plain)


@pytest.mark.parametrize("dtype", ["F16", "I16", "F8_E4M3"])
@pytest.mark.parametrize(
    "name", ["audio_tower.layers.0.fc1.weight", "multi_modal_projector.ln_mid.weight"]
)
def test_dtype_that_vllm_would_cast_is_refused(plain: Path, name: str, dtype: str) -> None:
    old = load(plain / SINGLE)[name]
    data = old.data[: len(old.data) // 2] if dtype == "F8_E4M3" else old.data
    replace_tensor(plain, name, Stored(dtype, old.shape, data))
    with pytest.raises(BadCheckpoint, match=f"{name} is {dtype} instead of BF16: vLLM would cast"):
        read(plain)


def test_weights_and_config_must_agree_on_the_quantisation(built: Built) -> None:
    folder = built("int8")
    before = (folder / "config.json").read_bytes()
    edit(folder / "config.json", quantization_config=None)
    with pytest.raises(BadCheckpoint, match=r"is I8 instead of BF16|does not belong"):
        read(folder)
    (folder / "config.json").write_bytes(before)
    shutil.copy(built() / SINGLE, folder / SINGLE)
    with pytest.raises(BadCheckpoint, match=r"is BF16 instead of I8|weight_scale is missing"):
        read(folder)


def test_quantised_model_without_ignore_list_is_refused(built: Built) -> None:
    folder = built("int8")
    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tree["quantization_config"]["ignore"] = ["lm_head"]
    (folder / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="mishear all audio"):
        read(folder)


def test_group_size_that_does_not_divide_the_inputs_is_refused(built: Built) -> None:
    folder = built("w4a16")
    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tree["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] = 48
    (folder / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="not a multiple of the group size 48"):
        read(folder)


def test_index_and_shards_must_agree(built: Built) -> None:
    folder = built(shard_bytes=200_000)
    shard_of = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    first = sorted(shard_of)[0]
    others = sorted(set(shard_of.values()) - {shard_of[first]})

    moved = {**shard_of, first: others[0]}
    edit(folder / INDEX, weight_map=moved)
    with pytest.raises(BadCheckpoint, match="which the index places elsewhere"):
        read(folder)
    edit(folder / INDEX, weight_map={**shard_of, "ghost": others[0]})
    with pytest.raises(BadCheckpoint, match=rf"{others[0]}.*it does not contain ghost"):
        read(folder)
    edit(folder / INDEX, weight_map={n: s for n, s in shard_of.items() if s != others[0]})
    with pytest.raises(BadCheckpoint, match=rf"{others[0]}.*it is not in the index"):
        read(folder)
    edit(folder / INDEX, weight_map={**shard_of, first: "../model.safetensors"})
    with pytest.raises(BadCheckpoint, match="does not list shards"):
        read(folder)
    edit(folder / INDEX, weight_map=shard_of)
    (folder / others[0]).unlink()
    with pytest.raises(BadCheckpoint, match="No such file"):
        read(folder)


def test_index_beside_a_single_file_is_refused(built: Built, plain: Path) -> None:
    folder = built(shard_bytes=200_000)
    shutil.copy(plain / SINGLE, folder)
    with pytest.raises(BadCheckpoint, match="contains an index of shards"):
        read(folder)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="does not exist"):
        read(tmp_path / "nowhere")
