"""The deployed model's sizes, compared with the tensors that a real folder must hold."""

from __future__ import annotations

import math

import pytest

from appliance.gpu import reference
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.weights.checkpoint.configs import AudioShape, ModelShape, TextShape
from appliance.weights.checkpoint.quantisation import ALWAYS_IGNORED, Scheme
from appliance.weights.checkpoint.safetensors import ITEM_BYTES
from appliance.weights.checkpoint.tensors import expected

SCHEMES = {
    "bf16": None,
    "fp8": Scheme("fp8", 8, 0, False, False, ALWAYS_IGNORED),
    "int8": Scheme("int8", 8, 0, False, False, ALWAYS_IGNORED),
    "w4a16": Scheme("w4a16", 4, 128, False, False, ALWAYS_IGNORED),
}


def shape(kind: str) -> ModelShape:
    return ModelShape(
        audio=AudioShape(width=1280, layers=32, heads=20, inner=5120, mel_bins=128, positions=1500),
        text=TextShape(
            width=4096,
            layers=32,
            heads=32,
            kv_heads=8,
            head_dim=128,
            inner=14336,
            vocabulary=128256,
            positions=131072,
            tied=False,
            attention_bias=False,
            mlp_bias=False,
        ),
        projector_width=4096,
        stack_factor=8,
        is_swiglu=True,
        norm_in_the_middle=True,
        audio_token=128256,
        dtype="bfloat16",
        scheme=SCHEMES[kind],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_required_tensors(kind: str) -> None:
    parts = dict.fromkeys(("audio_tower", "projector", "layers", "embed_tokens", "lm_head"), 0)
    for tensor in expected(shape(kind)).values():
        parts[tensor.part] += math.prod(tensor.shapes[0]) * ITEM_BYTES[tensor.dtypes[0]]
    sizes = ultravox_8b(kind).weights_bytes
    assert {name: getattr(sizes, name) for name in parts} == {
        **parts,
        "layers": pytest.approx(parts["layers"], rel=1e-5),
    }


def test_adapter_has_the_published_size() -> None:
    assert reference.AUDIO_TOWER + reference.PROJECTOR == 687_312_896


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        ultravox_8b("w2a16")


def test_kv_cache_takes_128_kib_per_token() -> None:
    assert ultravox_8b("fp8").kv_bytes_per_token("bfloat16") == 128 * 1024
