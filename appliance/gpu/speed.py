"""How fast a card can be at most, from its data sheet. Nothing here is measured or promised.

The roofline (Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009): a step takes at least
as long as reading its bytes, and at least as long as doing its operations. Decoding one token
reads all weights once and does two operations with each, so it waits for the memory; reading a
long prompt does the same operations for every token, so it waits for the arithmetic. 75 to 85 % of
the bandwidth limit is what well-kept kernels reach.
"""

from __future__ import annotations

from appliance.gpu.cards import Card, bytes_per_second, flops_per_second
from appliance.gpu.memory import ITEM_BYTES
from appliance.weights.checkpoint import Checkpoint

FIRST_PHRASE_TOKENS = 12  # what Kokoro is first given, about "The museum opens at nine."
PREFILL_UTILISATION = 0.5  # part of the data sheet's bf16 rate that a long prefill gets; assumed
ENCODER_FRAMES_PER_SECOND = 50

# Bytes of one weight of the Llama's linears with its share of the scales.
_WEIGHT_BYTES = {"fp8": 1.0, "int8": 1.0, "w8a16": 1 + 2 / 128, "w4a16": 0.5 + 2 / 128}


def seconds_per_token(
    card: Card, checkpoint: Checkpoint, sequences: int = 1, kv_bytes: int = 0
) -> float:
    """The shortest step that decodes one token for each of `sequences` replies; 0: not known.

    (bytes of weights + kv_bytes of each reply's past) / bandwidth.
    """
    rate = bytes_per_second(card)
    return (checkpoint.weights_bytes.per_token + sequences * kv_bytes) / rate if rate else 0.0


def first_phrase_seconds(card: Card, checkpoint: Checkpoint) -> float:
    """Until the first phrase is decoded, at the bandwidth limit; 0: not known."""
    return FIRST_PHRASE_TOKENS * seconds_per_token(card, checkpoint)


def language_parameters(checkpoint: Checkpoint) -> float:
    """Weights that every token is multiplied with: the Llama's layers and lm_head."""
    sizes, plain = checkpoint.weights_bytes, ITEM_BYTES[checkpoint.dtype]
    one = _WEIGHT_BYTES.get(checkpoint.quantization, plain)
    return sizes.layers / one + (sizes.lm_head or sizes.embed_tokens) / plain


def prefill_seconds(card: Card, checkpoint: Checkpoint, tokens: int) -> float:
    """To read `tokens` of a prompt that are not cached; 0: not known.

    The longer of 2 * parameters * tokens / (PREFILL_UTILISATION * bf16 rate) and one pass over the
    weights. FP8 and INT8 arithmetic may be faster; that is not counted on.
    """
    rate = flops_per_second(card)
    if not rate:
        return 0.0
    operations = 2 * language_parameters(checkpoint) * tokens
    return max(operations / (PREFILL_UTILISATION * rate), seconds_per_token(card, checkpoint))


def encoder_seconds(card: Card, checkpoint: Checkpoint, audio_seconds: float) -> float:
    """To encode a clip: 2 * parameters * 50 frames a second, at the same part of the rate."""
    rate = flops_per_second(card)
    if not rate:
        return 0.0
    ears = checkpoint.weights_bytes.audio_tower / ITEM_BYTES[checkpoint.dtype]
    operations = 2 * ears * ENCODER_FRAMES_PER_SECOND * audio_seconds
    return operations / (PREFILL_UTILISATION * rate)


def batched_tokens(card: Card, checkpoint: Checkpoint) -> int:
    """How much of a long prompt is read in one step, while all other replies wait for it.

    As much as takes 0.2 s, between 512 and 2048; 512 where the card's speed is not known.
    """
    for tokens in (2048, 1024):
        if 0 < prefill_seconds(card, checkpoint, tokens) <= 0.2:
            return tokens
    return 512
