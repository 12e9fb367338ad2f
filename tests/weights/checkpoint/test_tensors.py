"""The tensors of the real model, computed from its shape."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.safetensors import ITEM_BYTES, header
from appliance.weights.checkpoint.tensors import ExpectedTensor, expected
from tests.bench.random_weights import config


def real(scheme: str = "") -> dict[str, ExpectedTensor]:
    return expected(configs.parse(Path("config.json"), config("8b", scheme)))


def items(tensors: dict[str, ExpectedTensor]) -> int:
    return sum(math.prod(want.shapes[0]) for want in tensors.values())


def size_bytes(tensors: dict[str, ExpectedTensor]) -> int:
    return sum(math.prod(want.shapes[0]) * ITEM_BYTES[want.dtypes[0]] for want in tensors.values())


def test_size_of_the_published_adapter_is_exact() -> None:
    adapter = {n: want for n, want in real().items() if not n.startswith("language_model.")}
    assert len(adapter) == 491
    assert items(adapter) == 687_312_896
    head = header(
        (name, adapter[name].dtypes[0], adapter[name].shapes[0]) for name in sorted(adapter)
    )
    assert len(head) == 56_552
    assert len(head) + size_bytes(adapter) == 1_374_682_344  # as listed on the hub


def test_llama_3_1_8b_has_the_published_number_of_parameters() -> None:
    llama = {n: want for n, want in real().items() if n.startswith("language_model.")}
    assert len(llama) == 291
    assert items(llama) == 8_030_261_248


@pytest.mark.parametrize(
    ("scheme", "tensors", "read_per_token"),
    [("", 291, 15.0e9), ("fp8", 515, 8.0e9), ("int8", 515, 8.0e9), ("w4a16", 739, 4.65e9)],
)
def test_quantised_llama_has_the_expected_size(
    scheme: str, tensors: int, read_per_token: float
) -> None:
    llama = {n: want for n, want in real(scheme).items() if n.startswith("language_model.")}
    assert len(llama) == tensors
    read = {n: want for n, want in llama.items() if "embed_tokens" not in n}
    assert size_bytes(read) == pytest.approx(read_per_token, rel=0.01)


def test_ignored_linear_stays_unquantised() -> None:
    tree = config("8b", "int8")
    tree["quantization_config"]["ignore"] += ["language_model.model.layers.0.mlp.down_proj"]
    tensors = expected(configs.parse(Path("config.json"), tree))
    assert tensors["language_model.model.layers.0.mlp.down_proj.weight"].dtypes == ("BF16",)
    assert tensors["language_model.model.layers.1.mlp.down_proj.weight"].dtypes == ("I8",)


def test_tied_embeddings_biases_and_older_projector_change_the_tensors() -> None:
    tree = config("tiny")
    tree["projector_ln_mid"] = False
    tree["projector_act"] = "gelu"
    tree["text_config"] |= {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}
    tensors = expected(configs.parse(Path("config.json"), tree))
    assert "language_model.lm_head.weight" not in tensors
    assert "language_model.model.layers.1.self_attn.k_proj.bias" in tensors
    assert "language_model.model.layers.1.mlp.up_proj.bias" in tensors
    assert "multi_modal_projector.ln_post.weight" in tensors
    assert tensors["multi_modal_projector.linear_2.weight"].shapes == ((64, 64),)
