"""List the names, dtypes and shapes of the tensors of an Ultravox model. No I/O.

Names are those of the published adapter (audio_tower.*, multi_modal_projector.*; fixie-ai/ultravox,
ultravox_model.py), and those of Llama (transformers, modeling_llama.py) after `language_model.`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.weights.checkpoint.configs import DTYPES, AudioShape, ModelShape, TextShape
from appliance.weights.checkpoint.quantisation import Spec

TEXT_PREFIX = "language_model."


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """The allowed dtypes and shapes of a tensor. `part` is a field of WeightBytes."""

    part: str
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def expected(shape: ModelShape) -> dict[str, ExpectedTensor]:
    """Return every tensor of the model by name. Raises ValueError if sizes are inconsistent."""
    plain = (DTYPES[shape.dtype],)
    tensors: dict[str, ExpectedTensor] = {}
    for name, sizes in _audio_tower(shape.audio):
        tensors[f"audio_tower.{name}"] = ExpectedTensor("audio_tower", plain, (sizes,))
    for name, sizes in _projector(shape):
        tensors[f"multi_modal_projector.{name}"] = ExpectedTensor("projector", plain, (sizes,))
    for name, sizes in _llama(shape.text):
        part = {"lm_head": "lm_head", "model.embed_tokens": "embed_tokens"}
        module, _, suffix = name.rpartition(".")
        for tensor, (dtypes, shapes) in _stored(shape, module, suffix, sizes).items():
            tensors[TEXT_PREFIX + tensor] = ExpectedTensor(
                part.get(module, "layers"), dtypes, shapes
            )
    return tensors


def _stored(shape: ModelShape, module: str, suffix: str, sizes: tuple[int, ...]) -> dict[str, Spec]:
    """Return the stored tensors for a tensor of the Llama: one, or several if it is quantised."""
    scheme = shape.scheme
    is_linear = suffix == "weight" and module.endswith("_proj")
    if scheme is None or not is_linear or scheme.is_ignored(TEXT_PREFIX + module):
        return {f"{module}.{suffix}": ((DTYPES[shape.dtype],), (sizes,))}
    outputs, inputs = sizes
    try:
        stored = scheme.tensors(outputs, inputs, DTYPES[shape.dtype])
    except ValueError as problem:
        raise ValueError(f"{module}: {problem}") from problem
    return {f"{module}.{name}": spec for name, spec in stored.items()}


Named = Iterator[tuple[str, tuple[int, ...]]]


def _audio_tower(audio: AudioShape) -> Named:
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


def _projector(shape: ModelShape) -> Named:
    """Yield the projector: stack, RMSNorm, linear, SwiGLU (halves the width), RMSNorm, linear."""
    stacked = shape.audio.width * shape.stack_factor
    middle = shape.projector_width // 2 if shape.is_swiglu else shape.projector_width
    yield "ln_pre.weight", (stacked,)
    yield "linear_1.weight", (shape.projector_width, stacked)
    yield "linear_2.weight", (shape.text.width, middle)
    if shape.norm_in_the_middle:
        yield "ln_mid.weight", (middle,)
    else:
        yield "ln_post.weight", (shape.text.width,)


def _llama(text: TextShape) -> Named:
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
