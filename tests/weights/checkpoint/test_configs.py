"""Parsing config.json, and comparing the other JSON files with it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import BadCheckpoint
from appliance.weights.checkpoint import configs
from tests.bench.random_weights import config
from tests.golden.parts import CHECKPOINT, edit

PATH = Path("config.json")


def parse(tree: dict[str, Any]) -> configs.ModelShape:
    return configs.parse(PATH, tree)


def test_golden_config_is_parsed() -> None:
    shape = parse(configs.read_json(CHECKPOINT / "config.json"))
    assert (shape.text.layers, shape.text.kv_heads, shape.text.vocabulary) == (2, 2, 512)
    assert (shape.audio.width, shape.audio.layers, shape.audio.positions) == (64, 2, 1500)
    assert shape.audio_token == 512
    assert shape.scheme is None


def test_missing_head_size_is_derived_from_the_width() -> None:
    tree = config("8b")
    del tree["text_config"]["head_dim"]
    assert parse(tree).text.head_dim == 128


def test_dtype_key_of_newer_configs_is_accepted() -> None:
    tree = config("8b")
    tree["dtype"] = tree.pop("torch_dtype")
    assert parse(tree).dtype == "bfloat16"


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"model_type": "llava"}, "model_type is 'llava'"),
    "another class": ({"architectures": ["Other"]}, "architectures"),
    "another text model": ({"text_config": {"model_type": "gemma"}}, "text_config.model_type"),
    "no text model": ({"text_config": None}, "text_config is not inline"),
    "no layers": ({"text_config": {"num_hidden_layers": 0}}, "num_hidden_layers is 0"),
    "layers as text": ({"audio_config": {"encoder_layers": "32"}}, "encoder_layers is '32'"),
    "a boolean size": ({"stack_factor": True}, "stack_factor is True"),
    "an unknown dtype": ({"torch_dtype": "int8"}, "dtype 'int8'"),
    "another vocabulary": ({"vocab_size": 32000}, "vocab_size is 32000"),
    "a multi-layer projector": ({"num_projector_layers": 2}, "num_projector_layers"),
    "a remote text model": ({"text_model_id": "meta-llama/Llama-3.1-8B"}, "text_model_id is"),
    "a remote audio tower": ({"audio_model_id": "openai/whisper"}, "audio_model_id is"),
    "custom code": ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map is"),
    "a repository name": (
        {"audio_config": {"_name_or_path": "openai/whisper"}},
        r"audio_config\._name_or_path is 'openai/whisper'",
    ),
    "a quantization_config in the wrong place": (
        {"text_config": {"quantization_config": {"quant_method": "fp8"}}},
        "it belongs at the top level",
    ),
    "an unknown quantization method": (
        {"quantization_config": {"quant_method": "gptq"}},
        "not compressed-tensors",
    ),
    "an incomplete quantization_config": (
        {"quantization_config": {"quant_method": "compressed-tensors"}},
        "'config_groups' is missing",
    ),
}


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_config_is_refused_with_the_reason(kind: str) -> None:
    changes, complaint = INVALID[kind]
    tree = config("8b")
    for key, value in changes.items():
        deeper = isinstance(value, dict) and key in tree
        tree[key] = {**tree[key], **value} if deeper else value
    with pytest.raises(BadCheckpoint, match=complaint):
        parse(tree)


@pytest.mark.parametrize("index", range(3))
def test_quantized_model_must_ignore_audio_tower_projector_and_lm_head(index: int) -> None:
    tree = deepcopy(config("8b", "w4a16"))
    assert parse(tree).scheme
    removed = tree["quantization_config"]["ignore"].pop(index)
    with pytest.raises(BadCheckpoint, match="ignore lacks") as caught:
        parse(tree)
    assert removed.removeprefix("re:").removesuffix(".*") in str(caught.value)


def test_ignore_list_with_only_some_audio_layers_is_refused() -> None:
    tree = config("8b", "int8")
    tree["quantization_config"]["ignore"][1] = r"re:audio_tower\.layers\.[0-9]\..*"
    with pytest.raises(BadCheckpoint, match=r"lacks audio_tower\.layers\.10\.self_attn"):
        parse(tree)


COMPANIONS: dict[str, tuple[dict[str, Any], str]] = {
    "processor_config.json": ({"stack_factor": 4}, "stack_factor is 4 instead of 8"),
    "preprocessor_config.json": ({"feature_size": 80}, "feature_size is 80 instead of 128"),
    "tokenizer.json": ({"added_tokens": []}, r"<\|audio\|> has the ids \[\]"),
}


@pytest.mark.parametrize("name", COMPANIONS)
def test_other_json_files_must_agree_with_the_config(plain: Path, name: str) -> None:
    changes, complaint = COMPANIONS[name]
    shape = parse(configs.read_json(plain / "config.json"))
    paths = {path.name: path for path in plain.iterdir()}
    configs.check_companions(paths, shape)
    edit(plain / name, **changes)
    with pytest.raises(BadCheckpoint, match=complaint):
        configs.compare(paths["processor_config.json"], configs.processor(shape))
        configs.check_companions(paths, shape)


def test_missing_invalid_or_oversized_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(BadCheckpoint, match="it is missing"):
        configs.read_json(path)
    for content, complaint in (
        (b"[1]", "not a JSON object"),
        (b"\xff", "decode"),
        (b"{", "Expecting"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match=complaint):
            configs.read_json(path)
    with path.open("wb") as out:
        out.truncate(configs.MAX_JSON_BYTES + 1)
    with pytest.raises(BadCheckpoint, match="larger than"):
        configs.read_json(path)
