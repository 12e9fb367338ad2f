"""What lies in the card's memory, item by item, in bytes.

Where the bytes are not in a file they are estimates from above. None was measured on an L4 or A10;
`make bench-engine` and the engine's own log say what it is on a card at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.gpu.cards import GIB, Card
from appliance.settings import Settings
from appliance.weights.checkpoint import Checkpoint

MIB = 1 << 20
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}

# What a process has on the card before anything is loaded; 0.3 to 0.5 GiB with CUDA 12 and 13. It
# is outside vLLM's memory fraction, which counts from a snapshot taken after it (gpu_worker.py).
CONTEXT_BYTES = GIB // 2
# CUDA graphs of small batches, compiled kernels, cuBLAS' and attention's workspaces.
GRAPHS_BYTES = 3 * GIB // 4
# Kokoro-82M under PyTorch: 0.3 GiB float32, its own context, one phrase's activations, what
# PyTorch keeps. Assumed, with room.
KOKORO_BYTES = 6 * GIB // 5
# Fragments, and what CUDA can allocate less than NVML reports.
HEADROOM_BYTES, HEADROOM_RATIO = GIB // 2, 0.05
# A driver may hold so much of an idle card.
IDLE_BYTES = 3 * GIB // 10

PART_SECONDS, PART_FRAMES, PART_TOKENS = 30, 1500, 188  # of audio, as the encoder takes it
MEL_BINS = 128


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the sum. `in_vllm`: counted by vLLM's memory fraction."""

    what: str
    size_bytes: int
    in_vllm: bool

    def __str__(self) -> str:
        return f"{self.what} {self.size_bytes / GIB:.1f}"


def fixed(
    card: Card, checkpoint: Checkpoint, settings: Settings, dtype: str, batched_tokens: int
) -> tuple[Item, ...]:
    """Everything but the KV cache."""
    scale = ITEM_BYTES[dtype] / ITEM_BYTES[checkpoint.dtype]
    sizes = checkpoint.weights_bytes
    language = sizes.layers + sizes.embed_tokens + sizes.lm_head
    ears = sizes.audio_tower + sizes.projector
    headroom = max(HEADROOM_BYTES, int(HEADROOM_RATIO * card.memory_bytes))
    items = [
        Item("language model", int(language * scale), True),
        Item("audio encoder and projector", int(ears * scale), True),
        Item("activations", activations(checkpoint, settings, dtype, batched_tokens), True),
        Item("CUDA graphs", GRAPHS_BYTES, True),
        Item("CUDA context", CONTEXT_BYTES, False),
        Item("Kokoro", tts(settings), False),
        Item("other programs", others(card, settings), False),
        Item("headroom", headroom, False),
    ]
    return tuple(item for item in items if item.size_bytes)


def activations(checkpoint: Checkpoint, settings: Settings, dtype: str, batched_tokens: int) -> int:
    """The most that one step holds beside the weights: tokens, logits, and clips to be encoded.

    A token of Llama holds at most about 16 times its width at once (its residual, attention, and
    the two halves of an MLP 3.5 times as wide); a frame in Whisper as well (an MLP 4 times as
    wide). vLLM encodes in one step as many 30 s parts as `batched_tokens` audio tokens are
    (encoder_budget.py). Logits are float32 with three copies in the sampler.
    """
    item = ITEM_BYTES[dtype]
    tokens = batched_tokens * checkpoint.hidden_size * 16 * item
    logits = most_sequences(settings) * checkpoint.vocabulary_size * 4 * 4
    longest = -(-int(settings.llm.max_utterance_seconds) // PART_SECONDS)
    parts = max(longest, -(-batched_tokens // PART_TOKENS))
    convolved = 2 * PART_FRAMES * (2 * checkpoint.audio_width * item + MEL_BINS * 6)
    part = PART_FRAMES * checkpoint.audio_width * 16 * item + convolved
    return tokens + logits + parts * part


def tts(settings: Settings) -> int:
    """What has to be left to Kokoro, which starts at the same time in a process of its own."""
    return KOKORO_BYTES if settings.tts.device == "cuda" else 0


def others(card: Card, settings: Settings) -> int:
    """What programs that are not ours hold of the card.

    Kokoro may have been loaded already, or not yet (the two start at the same time, and either is
    restarted alone): as much as it needs and an idle driver holds counts as that. More is somebody
    else's, and all of it, since nothing tells whether Kokoro is in it.
    """
    held = card.memory_bytes - card.free_bytes
    return held if held > tts(settings) + IDLE_BYTES else 0


def most_sequences(settings: Settings) -> int:
    """The most replies that are decoded at the same time: as set, or one per call."""
    return settings.llm.max_sequences or settings.gateway.max_sessions


def conversation_tokens(settings: Settings) -> int:
    """What one call takes in the KV cache when its history is full.

    Its past, the longest reply, the longest utterance (6.25 tokens a second), and 512 for the
    instructions and the tools; at most the context.
    """
    own = settings.llm
    audio = int(own.max_utterance_seconds * 6.25) + 1
    return min(own.context_tokens, own.history_tokens + own.reply_tokens + audio + 512)
