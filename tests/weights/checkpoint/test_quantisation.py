"""Parsing quantization_config of compressed-tensors."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from appliance.weights.checkpoint.quantisation import parse, prefix_ignore
from tests.golden.parts import quantize

LAYER = "language_model.model.layers.3"


def config(scheme: str = "int8", **changes: Any) -> dict[str, Any]:
    _, tree = quantize({}, scheme)
    return tree | changes


def changed(scheme: str, part: str, **changes: Any) -> dict[str, Any]:
    tree = deepcopy(config(scheme))
    tree["config_groups"]["group_0"][part] |= changes
    return tree


@pytest.mark.parametrize("scheme", ["int8", "fp8", "w4a16"])
def test_scheme_has_its_name(scheme: str) -> None:
    assert parse(config(scheme)).name == scheme


def test_int8_linear_has_weights_and_one_scale_per_output() -> None:
    assert parse(config("int8")).tensors(64, 128, "BF16") == {
        "weight": (("I8",), ((64, 128),)),
        "weight_scale": (("BF16", "F16", "F32"), ((64, 1),)),
    }


def test_static_fp8_linear_has_one_scale_per_tensor_and_input_scales() -> None:
    tree = changed("fp8", "weights", strategy="tensor")
    tree["config_groups"]["group_0"]["input_activations"] |= {
        "dynamic": False,
        "strategy": "tensor",
    }
    specs = parse(tree).tensors(64, 128, "BF16")
    assert specs["weight"] == (("F8_E4M3",), ((64, 128),))
    assert specs["weight_scale"][1] == specs["input_scale"][1] == ((1,), ())


def test_w4a16_linear_is_packed_into_words_and_scaled_by_groups() -> None:
    tree = changed("w4a16", "weights", group_size=128, symmetric=False)
    assert parse(tree).tensors(4096, 14336, "BF16") == {
        "weight_packed": (("I32",), ((4096, 1792),)),
        "weight_scale": (("BF16",), ((4096, 112),)),
        "weight_shape": (("I64", "I32"), ((2,),)),
        "weight_zero_point": (("I32",), ((512, 112),)),
    }
    with pytest.raises(ValueError, match="not a multiple of the group size 128"):
        parse(tree).tensors(64, 100, "BF16")


REFUSED = {
    "another method": (config(quant_method="gptq"), "'gptq' is not compressed-tensors"),
    "a quantised KV cache": (config(kv_cache_scheme={"num_bits": 8}), "kv_cache_scheme"),
    "sparsity": (config(sparsity_config={"format": "x"}), "sparsity_config"),
    "two groups": (config(config_groups={"a": {}, "b": {}}), "several config_groups"),
    "other targets": (config(config_groups={"a": {"targets": ["re:.*"]}}), "targets"),
    "reordered inputs": (changed("w4a16", "weights", actorder="group"), "actorder"),
    "dynamic weights": (changed("int8", "weights", dynamic=True), "dynamically quantised"),
    "asymmetric weights": (changed("int8", "weights", symmetric=False), "not supported"),
    "blocks": (changed("fp8", "weights", strategy="block"), "not supported"),
    "six bits": (changed("w4a16", "weights", num_bits=6), "not supported"),
    "mixed kinds": (changed("int8", "input_activations", type="float"), "not supported"),
    "an empty group": (changed("w4a16", "weights", group_size=0), "group size 0 is not valid"),
    "another format": (config("w4a16", format="marlin-24"), "marlin-24"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_unsupported_scheme_is_refused(kind: str) -> None:
    tree, complaint = REFUSED[kind]
    with pytest.raises(ValueError, match=complaint):
        parse(tree)


def test_ignore_entries_are_matched_as_in_vllm() -> None:
    ignore = [f"{LAYER}.mlp.down_proj", r"re:.*layers\.4\..*", f"{LAYER}.self_attn.qkv_proj"]
    scheme = parse(config(ignore=ignore))
    assert scheme.is_ignored(f"{LAYER}.mlp.down_proj")
    assert scheme.is_ignored("language_model.model.layers.4.mlp.up_proj")
    assert scheme.is_ignored(f"{LAYER}.self_attn.k_proj")
    assert not scheme.is_ignored(f"{LAYER}.mlp.up_proj")
    assert not scheme.is_ignored("language_model.model.layers.33.mlp.down_proj")


def test_ignore_list_of_a_llama_is_prefixed_and_extended_by_the_audio_modules() -> None:
    llama_ignore = ["lm_head", "model.layers.3.mlp.down_proj", r"re:model\.layers\.[12]\..*"]
    ignore = prefix_ignore(llama_ignore)
    assert ignore[:3] == ["lm_head", "re:audio_tower.*", "re:multi_modal_projector.*"]
    scheme = parse(config(ignore=ignore))
    assert scheme.is_ignored(f"{LAYER}.mlp.down_proj")
    assert scheme.is_ignored("language_model.model.layers.2.self_attn.o_proj")
    assert scheme.is_ignored("audio_tower.layers.0.mlp.fc1")
    assert not scheme.is_ignored(f"{LAYER}.self_attn.o_proj")
