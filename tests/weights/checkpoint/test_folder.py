"""A whole model folder, and every way in which it can be spoiled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import BadCheckpoint, CannotStart
from appliance.weights.checkpoint import read
from appliance.weights.checkpoint.folder import INDEX, WHOLE
from tests.golden.parts import Stored, edit, load, save

QUERIES = "language_model.model.layers.0.self_attn.q_proj"
Built = Callable[..., Path]


def test_the_golden_checkpoint_is_whole(plain: Path) -> None:
    found = read(plain)
    assert (found.dtype, found.quantization) == ("bfloat16", "")
    assert found.parameters == 700_864
    assert found.weights_bytes.total == 2 * 700_864
    assert found.weights_bytes.per_token == 591_104 + 131_072
    assert (found.audio_token, found.vocabulary_size) == (512, 512)
    assert found.frames_per_token == 16


def test_the_past_takes_as_much_as_keys_and_values_of_all_layers(plain: Path) -> None:
    found = read(plain)
    assert found.kv_bytes_per_token("auto") == 2 * 2 * 2 * 32 * 2
    assert found.kv_bytes_per_token("fp8") * 4 == found.kv_bytes_per_token("float32")


@pytest.mark.parametrize("scheme", ["int8", "fp8", "w4a16"])
def test_a_quantised_model_is_whole_too(built: Built, scheme: str) -> None:
    found, whole = read(built(scheme)), read(built())
    assert found.quantization == scheme
    assert found.weights_bytes.layers < 0.52 * whole.weights_bytes.layers
    assert found.weights_bytes.audio_tower == whole.weights_bytes.audio_tower


def test_shards_are_read_as_one(built: Built) -> None:
    folder = built(shard_bytes=200_000)
    assert len(list(folder.glob("model-*.safetensors"))) > 5
    assert read(folder).weights_bytes == read(built()).weights_bytes


def test_what_is_wrong_ends_a_start(plain: Path) -> None:
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
def test_a_file_that_is_not_on_the_list_is_refused(plain: Path, name: str) -> None:
    (plain / name).write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="no place in a model folder") as caught:
        read(plain)
    assert name in str(caught.value)


def test_a_folder_by_the_name_of_a_file_is_refused(plain: Path) -> None:
    (plain / "LICENSE").mkdir()
    with pytest.raises(BadCheckpoint, match="no place"):
        read(plain)


def test_a_remote_name_is_found_in_any_config(plain: Path) -> None:
    edit(plain / "tokenizer_config.json", name_or_path="meta-llama/Llama-3.1-8B-Instruct")
    with pytest.raises(BadCheckpoint, match=r"tokenizer_config\.json.*name_or_path"):
        read(plain)


def respell(folder: Path, name: str, stored: Stored | None) -> None:
    """Puts another tensor in the place of one, or takes it away."""
    tensors = load(folder / WHOLE)
    tensors.pop(name, None)
    if stored:
        tensors[name] = stored
    save(folder / WHOLE, tensors)


def test_a_missing_tensor_is_named(plain: Path) -> None:
    respell(plain, f"{QUERIES}.weight", None)
    with pytest.raises(BadCheckpoint, match=rf"tensor {QUERIES}\.weight is missing"):
        read(plain)


def test_a_tensor_too_many_is_named(plain: Path) -> None:
    respell(plain, "language_model.model.rotary_emb.inv_freq", Stored("F32", (2,), b"x" * 8))
    with pytest.raises(BadCheckpoint, match="inv_freq does not belong"):
        read(plain)


def test_a_wrong_shape_is_named_with_both(plain: Path) -> None:
    old = load(plain / WHOLE)["multi_modal_projector.linear_1.weight"]
    respell(plain, "multi_modal_projector.linear_1.weight", old._replace(shape=(512, 128)))
    with pytest.raises(BadCheckpoint, match=r"shape \(512, 128\) in place of \(128, 512\)"):
        read(plain)


@pytest.mark.parametrize("dtype", ["F16", "I16", "F8_E4M3"])
@pytest.mark.parametrize(
    "name", ["audio_tower.layers.0.fc1.weight", "multi_modal_projector.ln_mid.weight"]
)
def test_what_vllm_would_cast_is_refused(plain: Path, name: str, dtype: str) -> None:
    old = load(plain / WHOLE)[name]
    data = old.data[: len(old.data) // 2] if dtype == "F8_E4M3" else old.data
    respell(plain, name, Stored(dtype, old.shape, data))
    with pytest.raises(BadCheckpoint, match=f"{name} is {dtype} in place of BF16: vLLM would cast"):
        read(plain)


def test_weights_and_config_must_agree_on_the_quantisation(built: Built) -> None:
    folder = built("int8")
    before = (folder / "config.json").read_bytes()
    edit(folder / "config.json", quantization_config=None)
    with pytest.raises(BadCheckpoint, match=r"is I8 in place of BF16|does not belong"):
        read(folder)
    (folder / "config.json").write_bytes(before)
    shutil.copy(built() / WHOLE, folder / WHOLE)
    with pytest.raises(BadCheckpoint, match=r"is BF16 in place of I8|weight_scale is missing"):
        read(folder)


def test_without_the_ignore_list_a_quantised_model_is_refused(built: Built) -> None:
    folder = built("int8")
    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tree["quantization_config"]["ignore"] = ["lm_head"]
    (folder / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="mishear all audio"):
        read(folder)


def test_groups_that_do_not_fit_are_refused(built: Built) -> None:
    folder = built("w4a16")
    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tree["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] = 48
    (folder / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="no whole groups of 48"):
        read(folder)


def test_an_index_and_its_shards_must_agree(built: Built) -> None:
    folder = built(shard_bytes=200_000)
    places = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    first = sorted(places)[0]
    others = sorted(set(places.values()) - {places[first]})

    moved = {**places, first: others[0]}
    edit(folder / INDEX, weight_map=moved)
    with pytest.raises(BadCheckpoint, match="which the index does not place there"):
        read(folder)
    edit(folder / INDEX, weight_map={**places, "ghost": others[0]})
    with pytest.raises(BadCheckpoint, match=rf"{others[0]}.*it lacks ghost"):
        read(folder)
    edit(folder / INDEX, weight_map={n: s for n, s in places.items() if s != others[0]})
    with pytest.raises(BadCheckpoint, match=rf"{others[0]}.*its index does not know it"):
        read(folder)
    edit(folder / INDEX, weight_map={**places, first: "../model.safetensors"})
    with pytest.raises(BadCheckpoint, match="does not name shards"):
        read(folder)
    edit(folder / INDEX, weight_map=places)
    (folder / others[0]).unlink()
    with pytest.raises(BadCheckpoint, match="No such file"):
        read(folder)


def test_an_index_beside_a_whole_model_is_refused(built: Built, plain: Path) -> None:
    folder = built(shard_bytes=200_000)
    shutil.copy(plain / WHOLE, folder)
    with pytest.raises(BadCheckpoint, match="beside an index"):
        read(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no such folder"):
        read(tmp_path / "nowhere")
