"""What occupies the card's memory, item by item, in bytes. No I/O.

Sizes that cannot be read from a file are conservative estimates. None was measured on an L4 or A10;
`make bench-engine` and the engine's own log show the real values of an installed card.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.gpu.cards import GIB, GpuCard
from appliance.settings import Settings
from appliance.weights.checkpoint import Checkpoint

MIB = 1 << 20
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}

# What a process holds on the card before it loads anything: 0.3 to 0.5 GiB with CUDA 12 and 13.
# Outside vLLM's memory fraction, which counts from a snapshot taken afterwards (gpu_worker.py).
CONTEXT_BYTES = GIB // 2
# CUDA graphs of small batches, compiled kernels, workspaces of cuBLAS and attention.
GRAPHS_BYTES = 3 * GIB // 4
# Kokoro-82M under PyTorch: 0.3 GiB of float32 weights, its own CUDA context, the activations of one
# phrase, PyTorch's cache. A generous assumption.
KOKORO_BYTES = 6 * GIB // 5
# For fragmentation, and for the difference between what NVML reports and what CUDA can allocate.
HEADROOM_BYTES, HEADROOM_RATIO = GIB // 2, 0.05
# A driver may hold this much of an idle card.
IDLE_BYTES = 3 * GIB // 10

# The audio encoder takes clips in parts of this many seconds, frames and tokens.
PART_SECONDS, PART_FRAMES, PART_TOKENS = 30, 1500, 188
MEL_BINS = 128
AUDIO_TOKENS_PER_SECOND = 6.25
INSTRUCTION_TOKENS = 512  # reserved for the system prompt and the tools


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One line of the memory budget. `in_vllm`: counted by vLLM's memory fraction."""

    label: str
    size_bytes: int
    in_vllm: bool

    def __str__(self) -> str:
        return f"{self.label} {self.size_bytes / GIB:.1f}"


def fixed_items(
    card: GpuCard, checkpoint: Checkpoint, settings: Settings, dtype: str, batched_tokens: int
) -> tuple[MemoryItem, ...]:
    """Everything except the KV cache."""
    scale = ITEM_BYTES[dtype] / ITEM_BYTES[checkpoint.dtype]
    sizes = checkpoint.weights_bytes
    language_model = sizes.layers + sizes.embed_tokens + sizes.lm_head
    audio = sizes.audio_tower + sizes.projector
    headroom = max(HEADROOM_BYTES, int(HEADROOM_RATIO * card.memory_bytes))
    activations = activation_bytes(checkpoint, settings, dtype, batched_tokens)
    items = [
        MemoryItem("language model", int(language_model * scale), True),
        MemoryItem("audio encoder and projector", int(audio * scale), True),
        MemoryItem("activations", activations, True),
        MemoryItem("CUDA graphs", GRAPHS_BYTES, True),
        MemoryItem("CUDA context", CONTEXT_BYTES, False),
        MemoryItem("Kokoro", tts_bytes(settings), False),
        MemoryItem("other programs", other_programs_bytes(card, settings), False),
        MemoryItem("headroom", headroom, False),
    ]
    return tuple(item for item in items if item.size_bytes)


def activation_bytes(
    checkpoint: Checkpoint, settings: Settings, dtype: str, batched_tokens: int
) -> int:
    """Peak memory of one step beside the weights: tokens, logits, and audio to be encoded.

    A token of Llama holds at most about 16 times its width at once (residual, attention, and both
    halves of an MLP 3.5 times as wide); so does a frame in Whisper (an MLP 4 times as wide). vLLM
    encodes as many 30 s parts in one step as fit into `batched_tokens` audio tokens
    (encoder_budget.py). Logits are float32, with three copies in the sampler.
    """
    item = ITEM_BYTES[dtype]
    tokens = batched_tokens * checkpoint.hidden_size * 16 * item
    logits = max_sequences(settings) * checkpoint.vocabulary_size * 4 * 4
    longest_clip = -(-int(settings.llm.max_utterance_seconds) // PART_SECONDS)
    parts = max(longest_clip, -(-batched_tokens // PART_TOKENS))
    convolution = 2 * PART_FRAMES * (2 * checkpoint.audio_width * item + MEL_BINS * 6)
    part = PART_FRAMES * checkpoint.audio_width * 16 * item + convolution
    return tokens + logits + parts * part


def tts_bytes(settings: Settings) -> int:
    """What to leave for Kokoro, which starts at the same time in its own process."""
    return KOKORO_BYTES if settings.tts.device == "cuda" else 0


def other_programs_bytes(card: GpuCard, settings: Settings) -> int:
    """What programs outside the appliance hold of the card.

    Kokoro may already be loaded or not (both engines start at the same time, and each is restarted
    alone), so memory up to its size plus that of an idle driver is attributed to it. More than that
    belongs to another program, and then all of it is counted: Kokoro may not be part of it.
    """
    held = card.memory_bytes - card.free_bytes
    return held if held > tts_bytes(settings) + IDLE_BYTES else 0


def max_sequences(settings: Settings) -> int:
    """The most replies that are decoded at the same time: as set, or one per call."""
    return settings.llm.max_sequences or settings.gateway.max_sessions


def conversation_tokens(settings: Settings) -> int:
    """Tokens in the KV cache of one call with a full history, at most the context.

    Its history, the longest reply, the longest utterance and the instructions.
    """
    llm = settings.llm
    audio = int(llm.max_utterance_seconds * AUDIO_TOKENS_PER_SECOND) + 1
    tokens = llm.history_tokens + llm.reply_tokens + audio + INSTRUCTION_TOKENS
    return min(llm.context_tokens, tokens)
