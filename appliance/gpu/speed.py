"""Estimates of a card's speed from its data sheet; nothing is measured. No I/O.

Decode times are lower bounds; prefill and encoder times assume PREFILL_UTILISATION.

The roofline model (Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009): a step takes at
least the time to read its bytes, and at least the time to do its operations. Decoding one token
reads all weights once and does two operations with each weight, so memory bandwidth limits it.
Prefill of a long prompt does the same operations for every token, so arithmetic limits it. Good
kernels reach 75 to 85 % of the bandwidth limit.
"""

from __future__ import annotations

from appliance.gpu.cards import GpuCard, bytes_per_second, flops_per_second
from appliance.gpu.memory import ITEM_BYTES
from appliance.weights.checkpoint import Checkpoint

FIRST_PHRASE_TOKENS = 12  # length of a typical first phrase: "The museum opens at nine."
PREFILL_UTILISATION = 0.5  # share of the data sheet's bf16 rate in a long prefill; assumed
ENCODER_FRAMES_PER_SECOND = 50
MAX_STEP_SECONDS = 0.2  # one prefill step delays all other replies

# Bytes of one weight of Llama's linear layers, with its share of the scales.
_WEIGHT_BYTES = {"fp8": 1.0, "int8": 1.0, "w8a16": 1 + 2 / 128, "w4a16": 0.5 + 2 / 128}


def seconds_per_token(
    card: GpuCard, checkpoint: Checkpoint, sequences: int = 1, kv_bytes: int = 0
) -> float:
    """Return the minimum time to decode a token for each of `sequences` replies; 0 if unknown.

    (weight bytes + sequences * kv_bytes) / bandwidth; kv_bytes is one conversation's KV cache.
    """
    bandwidth = bytes_per_second(card)
    if not bandwidth:
        return 0.0
    return (checkpoint.weights_bytes.per_token + sequences * kv_bytes) / bandwidth


def first_phrase_seconds(card: GpuCard, checkpoint: Checkpoint) -> float:
    """Return the time to decode the first phrase at the bandwidth limit; 0 if unknown."""
    return FIRST_PHRASE_TOKENS * seconds_per_token(card, checkpoint)


def language_model_parameters(checkpoint: Checkpoint) -> float:
    """Return how many weights each token is multiplied by: Llama's layers and lm_head."""
    sizes, unquantised = checkpoint.weights_bytes, ITEM_BYTES[checkpoint.dtype]
    weight_bytes = _WEIGHT_BYTES.get(checkpoint.quantization, unquantised)
    return sizes.layers / weight_bytes + (sizes.lm_head or sizes.embed_tokens) / unquantised


def prefill_seconds(card: GpuCard, checkpoint: Checkpoint, tokens: int) -> float:
    """Return the time to process `tokens` uncached tokens of a prompt; 0 if unknown.

    The longer of 2 * parameters * tokens / (PREFILL_UTILISATION * bf16 rate) and one pass over the
    weights. FP8 and INT8 arithmetic may be faster; that is not assumed.
    """
    rate = flops_per_second(card)
    if not rate:
        return 0.0
    operations = 2 * language_model_parameters(checkpoint) * tokens
    return max(operations / (PREFILL_UTILISATION * rate), seconds_per_token(card, checkpoint))


def encoder_seconds(card: GpuCard, checkpoint: Checkpoint, audio_seconds: float) -> float:
    """Return the time to encode audio: 2 * parameters * frames, at PREFILL_UTILISATION."""
    rate = flops_per_second(card)
    if not rate:
        return 0.0
    parameters = checkpoint.weights_bytes.audio_tower / ITEM_BYTES[checkpoint.dtype]
    operations = 2 * parameters * ENCODER_FRAMES_PER_SECOND * audio_seconds
    return operations / (PREFILL_UTILISATION * rate)


def batched_tokens(card: GpuCard, checkpoint: Checkpoint) -> int:
    """Return how many prompt tokens to process in one step, while all other replies wait.

    The largest of 2048 and 1024 that can be processed within MAX_STEP_SECONDS; 512 if neither can,
    or if the speed is unknown.
    """
    for tokens in (2048, 1024):
        if 0 < prefill_seconds(card, checkpoint, tokens) <= MAX_STEP_SECONDS:
            return tokens
    return 512
