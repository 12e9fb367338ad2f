"""Describes the checkpoint of the deployed model for each kind of weights, without its files.

The shapes are from the published configs of fixie-ai/ultravox-v0_5-llama-3_1-8b (its adapter has
687,312,896 parameters) and meta-llama/Llama-3.1-8B-Instruct (8,030,261,248). A test compares the
sizes with those that weights.checkpoint requires of such a folder.
"""

from __future__ import annotations

from pathlib import Path

from appliance.weights.checkpoint import Checkpoint, WeightBytes

LAYERS, WIDTH, INNER, VOCABULARY = 32, 4096, 14336, 128256
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
AUDIO_TOWER, PROJECTOR = 636_968_960, 50_343_936  # parameters, always bf16
GROUP = 128  # weights that share one bf16 scale in w4a16

KINDS = ("bf16", "fp8", "int8", "w4a16")

_LINEARS = (  # outputs, inputs of one layer's linear modules
    (HEADS * HEAD_DIM, WIDTH),
    (KV_HEADS * HEAD_DIM, WIDTH),
    (KV_HEADS * HEAD_DIM, WIDTH),
    (WIDTH, HEADS * HEAD_DIM),
    (INNER, WIDTH),
    (INNER, WIDTH),
    (WIDTH, INNER),
)


def ultravox_8b(kind: str) -> Checkpoint:
    """Return what checkpoint.read would return. Raises KeyError if `kind` is not one of KINDS."""
    layer_bytes = {
        "bf16": sum(2 * outputs * inputs for outputs, inputs in _LINEARS),
        "fp8": sum(outputs * inputs + 2 * outputs for outputs, inputs in _LINEARS),
        "int8": sum(outputs * inputs + 2 * outputs for outputs, inputs in _LINEARS),
        "w4a16": sum(outputs * inputs * (4 + 16 / GROUP) / 8 + 16 for outputs, inputs in _LINEARS),
    }[kind]
    norm_bytes = 2 * WIDTH * (2 * LAYERS + 1)
    return Checkpoint(
        folder=Path("ultravox-v0_5-llama-3_1-8b"),
        weights_bytes=WeightBytes(
            audio_tower=2 * AUDIO_TOWER,
            projector=2 * PROJECTOR,
            layers=LAYERS * int(layer_bytes) + norm_bytes,
            embed_tokens=2 * VOCABULARY * WIDTH,
            lm_head=2 * VOCABULARY * WIDTH,
        ),
        parameters=AUDIO_TOWER + PROJECTOR + 8_030_261_248,
        dtype="bfloat16",
        quantization="" if kind == "bf16" else kind,
        layers=LAYERS,
        heads=HEADS,
        kv_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        hidden_size=WIDTH,
        vocabulary_size=VOCABULARY,
        max_positions=131072,
        audio_token=128256,
        audio_width=1280,
        frames_per_token=16,
    )
