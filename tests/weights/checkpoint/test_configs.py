"""config.json and its companions."""

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


def parse(tree: dict[str, Any]) -> configs.Shape:
    return configs.parse(PATH, tree)


def test_the_golden_config_is_read() -> None:
    shape = parse(configs.read_json(CHECKPOINT / "config.json"))
    assert (shape.text.layers, shape.text.kv_heads, shape.text.vocabulary) == (2, 2, 512)
    assert (shape.audio.width, shape.audio.layers, shape.audio.positions) == (64, 2, 1500)
    assert shape.audio_token == 512
    assert shape.scheme is None


def test_the_head_size_follows_from_the_width_where_it_is_not_told() -> None:
    tree = config("8b")
    del tree["text_config"]["head_dim"]
    assert parse(tree).text.head_dim == 128


def test_newer_configs_call_the_dtype_dtype() -> None:
    tree = config("8b")
    tree["dtype"] = tree.pop("torch_dtype")
    assert parse(tree).dtype == "bfloat16"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"model_type": "llava"}, "model_type is 'llava'"),
    "another class": ({"architectures": ["Other"]}, "architectures"),
    "another text model": ({"text_config": {"model_type": "gemma"}}, "text_config.model_type"),
    "no text model": ({"text_config": None}, "text_config is not inline"),
    "no layers": ({"text_config": {"num_hidden_layers": 0}}, "num_hidden_layers is 0"),
    "layers in words": ({"audio_config": {"encoder_layers": "32"}}, "encoder_layers is '32'"),
    "a truth for a size": ({"stack_factor": True}, "stack_factor is True"),
    "an unknown dtype": ({"torch_dtype": "int8"}, "dtype 'int8'"),
    "another vocabulary": ({"vocab_size": 32000}, "vocab_size is 32000"),
    "the layered projector": ({"num_projector_layers": 2}, "num_projector_layers"),
    "a hub id for its text": ({"text_model_id": "meta-llama/Llama-3.1-8B"}, "text_model_id is"),
    "a hub id for its ears": ({"audio_model_id": "openai/whisper"}, "audio_model_id is"),
    "code of its own": ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map is"),
    "a name that is a hub's": (
        {"audio_config": {"_name_or_path": "openai/whisper"}},
        r"audio_config\._name_or_path is 'openai/whisper'",
    ),
    "a quantisation in the wrong place": (
        {"text_config": {"quantization_config": {"quant_method": "fp8"}}},
        "it belongs at the top",
    ),
    "a quantisation nobody knows": (
        {"quantization_config": {"quant_method": "gptq"}},
        "not compressed-tensors",
    ),
    "a quantisation in half": (
        {"quantization_config": {"quant_method": "compressed-tensors"}},
        "'config_groups' is missing",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_config_is_refused_in_words(what: str) -> None:
    changes, complaint = WRONG[what]
    tree = config("8b")
    for key, value in changes.items():
        deeper = isinstance(value, dict) and key in tree
        tree[key] = {**tree[key], **value} if deeper else value
    with pytest.raises(BadCheckpoint, match=complaint):
        parse(tree)


@pytest.mark.parametrize("lost", range(3))
def test_a_quantised_model_must_spare_its_ears_and_its_head(lost: int) -> None:
    tree = deepcopy(config("8b", "w4a16"))
    assert parse(tree).scheme
    gone = tree["quantization_config"]["ignore"].pop(lost)
    with pytest.raises(BadCheckpoint, match="ignore lacks") as caught:
        parse(tree)
    assert gone.removeprefix("re:").removesuffix(".*") in str(caught.value)


def test_an_ignore_list_that_spares_only_some_of_the_ears_is_not_enough() -> None:
    tree = config("8b", "int8")
    tree["quantization_config"]["ignore"][1] = r"re:audio_tower\.layers\.[0-9]\..*"
    with pytest.raises(BadCheckpoint, match=r"lacks audio_tower\.layers\.10\.self_attn"):
        parse(tree)


COMPANIONS = {
    "processor_config.json": ({"stack_factor": 4}, "stack_factor is 4 in place of 8"),
    "preprocessor_config.json": ({"feature_size": 80}, "feature_size is 80 in place of 128"),
    "tokenizer.json": ({"added_tokens": []}, r"<\|audio\|> has the ids \[\]"),
}


@pytest.mark.parametrize("name", COMPANIONS)
def test_companions_must_say_the_same(plain: Path, name: str) -> None:
    changes, complaint = COMPANIONS[name]
    shape = parse(configs.read_json(plain / "config.json"))
    places = {path.name: path for path in plain.iterdir()}
    configs.check_companions(places, shape)
    edit(plain / name, **changes)
    with pytest.raises(BadCheckpoint, match=complaint):
        configs.compare(places["processor_config.json"], configs.processor(shape))
        configs.check_companions(places, shape)


def test_a_json_file_is_read_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(BadCheckpoint, match="it is missing"):
        configs.read_json(path)
    for content, complaint in (
        (b"[1]", "no JSON object"),
        (b"\xff", "decode"),
        (b"{", "Expecting"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadCheckpoint, match=complaint):
            configs.read_json(path)
    with path.open("wb") as out:
        out.truncate(configs.MAX_JSON_BYTES + 1)
    with pytest.raises(BadCheckpoint, match="more than"):
        configs.read_json(path)
