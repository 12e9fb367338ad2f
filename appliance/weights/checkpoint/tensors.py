"""Which tensors an Ultravox of a given shape consists of: names, dtypes, shapes.

Names as in the published adapter (audio_tower.*, multi_modal_projector.*; fixie-ai/ultravox,
ultravox_model.py) and in Llama (transformers, modeling_llama.py), the latter under
`language_model.`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.weights.checkpoint.configs import DTYPES, Audio, Shape, Text
from appliance.weights.checkpoint.quantisation import Spec

TEXT_PREFIX = "language_model."


@dataclass(frozen=True, slots=True)
class Expected:
    """One tensor: any of `dtypes`, any of `shapes`; `part` as in checkpoint.Bytes."""

    part: str
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def expected(shape: Shape) -> dict[str, Expected]:
    """Every tensor of the model by name. Raises ValueError when a size does not fit another."""
    plain = (DTYPES[shape.dtype],)
    found: dict[str, Expected] = {}
    for name, sizes in _audio_tower(shape.audio):
        found[f"audio_tower.{name}"] = Expected("audio_tower", plain, (sizes,))
    for name, sizes in _projector(shape):
        found[f"multi_modal_projector.{name}"] = Expected("projector", plain, (sizes,))
    for name, sizes in _llama(shape.text):
        part = {"lm_head": "lm_head", "model.embed_tokens": "embed_tokens"}
        module, _, ending = name.rpartition(".")
        for tensor, (dtypes, shapes) in _stored(shape, module, ending, sizes).items():
            found[TEXT_PREFIX + tensor] = Expected(part.get(module, "layers"), dtypes, shapes)
    return found


def _stored(shape: Shape, module: str, ending: str, sizes: tuple[int, ...]) -> dict[str, Spec]:
    """How a tensor of the plain Llama is stored: by itself, or as several when quantised."""
    scheme = shape.scheme
    is_linear = ending == "weight" and module.endswith("_proj")
    if scheme is None or not is_linear or scheme.is_ignored(TEXT_PREFIX + module):
        return {f"{module}.{ending}": ((DTYPES[shape.dtype],), (sizes,))}
    outputs, inputs = sizes
    try:
        stored = scheme.tensors(outputs, inputs, DTYPES[shape.dtype])
    except ValueError as problem:
        raise ValueError(f"{module}: {problem}") from problem
    return {f"{module}.{name}": spec for name, spec in stored.items()}


Named = Iterator[tuple[str, tuple[int, ...]]]


def _audio_tower(audio: Audio) -> Named:
    width = audio.width
    yield "conv1.weight", (width, audio.mel_bins, 3)
    yield "conv1.bias", (width,)
    yield "conv2.weight", (width, width, 3)
    yield "conv2.bias", (width,)
    yield "embed_positions.weight", (audio.positions, width)
    for number in range(audio.layers):
        layer = f"layers.{number}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{layer}self_attn.{name}.weight", (width, width)
            if name != "k_proj":  # Whisper's keys have no bias
                yield f"{layer}self_attn.{name}.bias", (width,)
        yield f"{layer}fc1.weight", (audio.inner, width)
        yield f"{layer}fc1.bias", (audio.inner,)
        yield f"{layer}fc2.weight", (width, audio.inner)
        yield f"{layer}fc2.bias", (width,)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            yield from _norm(layer + name, width)
    yield from _norm("layer_norm", width)


def _norm(name: str, width: int) -> Named:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _projector(shape: Shape) -> Named:
    """Stack, RMSNorm, linear, SwiGLU (which halves), RMSNorm, linear."""
    stacked = shape.audio.width * shape.stack_factor
    middle = shape.projector_width // 2 if shape.is_swiglu else shape.projector_width
    yield "ln_pre.weight", (stacked,)
    yield "linear_1.weight", (shape.projector_width, stacked)
    yield "linear_2.weight", (shape.text.width, middle)
    if shape.norm_in_the_middle:
        yield "ln_mid.weight", (middle,)
    else:
        yield "ln_post.weight", (shape.text.width,)


def _llama(text: Text) -> Named:
    queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
    linears = (
        ("self_attn.q_proj", queries, text.width, text.attention_bias),
        ("self_attn.k_proj", keys, text.width, text.attention_bias),
        ("self_attn.v_proj", keys, text.width, text.attention_bias),
        ("self_attn.o_proj", text.width, queries, text.attention_bias),
        ("mlp.gate_proj", text.inner, text.width, text.mlp_bias),
        ("mlp.up_proj", text.inner, text.width, text.mlp_bias),
        ("mlp.down_proj", text.width, text.inner, text.mlp_bias),
    )
    yield "model.embed_tokens.weight", (text.vocabulary, text.width)
    for number in range(text.layers):
        layer = f"model.layers.{number}."
        for name, outputs, inputs, has_bias in linears:
            yield f"{layer}{name}.weight", (outputs, inputs)
            if has_bias:
                yield f"{layer}{name}.bias", (outputs,)
        yield f"{layer}input_layernorm.weight", (text.width,)
        yield f"{layer}post_attention_layernorm.weight", (text.width,)
    yield "model.norm.weight", (text.width,)
    if not text.tied:
        yield "lm_head.weight", (text.vocabulary, text.width)
