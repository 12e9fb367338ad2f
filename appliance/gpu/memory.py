"""The memory budget of a card, item by item, in bytes. No I/O.

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

# Memory that a process uses on the card before it loads anything: 0.3 to 0.5 GiB with CUDA 12, 13.
# It is outside vLLM's memory fraction, because vLLM takes its snapshot afterwards (gpu_worker.py).
CONTEXT_BYTES = GIB // 2
# CUDA graphs of small batches, compiled kernels, workspaces of cuBLAS and attention.
GRAPHS_BYTES = 3 * GIB // 4
# Kokoro-82M under PyTorch: 0.3 GiB of float32 weights, its own CUDA context, the activations of one
# phrase, PyTorch's cache. A generous assumption.
KOKORO_BYTES = 6 * GIB // 5
# Covers fragmentation, and the difference between NVML's total and what CUDA can allocate.
HEADROOM_BYTES, HEADROOM_RATIO = GIB // 2, 0.05
# The driver may use this much of an idle card.
IDLE_BYTES = 3 * GIB // 10

# The audio encoder splits clips into parts. Length of a part in seconds, frames and tokens:
PART_SECONDS, PART_FRAMES, PART_TOKENS = 30, 1500, 188
MEL_BINS = 128
AUDIO_TOKENS_PER_SECOND = 6.25
INSTRUCTION_TOKENS = 512  # reserved for the system prompt and the tools


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One line of the memory budget. `in_vllm`: whether vLLM's memory fraction includes it."""

    label: str
    size_bytes: int
    in_vllm: bool

    def __str__(self) -> str:
        return f"{self.label} {self.size_bytes / GIB:.1f}"


def fixed_items(
    card: GpuCard, checkpoint: Checkpoint, settings: Settings, dtype: str, batched_tokens: int
) -> tuple[MemoryItem, ...]:
    """List every item except the KV cache."""
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
    """Return the peak memory of one step without the weights: tokens, logits and encoded audio.

    In Llama, a token takes at most about 16 times the hidden size at once: residual, attention, and
    both halves of an MLP that is 3.5 times as wide. The same is true of a frame in Whisper, with an
    MLP that is 4 times as wide. In one step, vLLM encodes as many 30 s parts as fit into
    `batched_tokens` audio tokens (encoder_budget.py). Logits are float32, with three copies in the
    sampler.
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
    """Return the memory to leave for Kokoro, which starts at the same time in its own process."""
    return KOKORO_BYTES if settings.tts.device == "cuda" else 0


def other_programs_bytes(card: GpuCard, settings: Settings) -> int:
    """Return the memory that programs outside the appliance use on the card.

    Kokoro may or may not be loaded yet: both engines start at the same time, and each can be
    restarted alone. So used memory up to the size of Kokoro plus an idle driver counts as Kokoro's.
    If more is used, another program runs, and all of it counts as that program's: it is unknown
    whether Kokoro's memory is included.
    """
    used = card.memory_bytes - card.free_bytes
    return used if used > tts_bytes(settings) + IDLE_BYTES else 0


def max_sequences(settings: Settings) -> int:
    """Return how many replies are decoded at the same time: the setting, or one per session."""
    return settings.llm.max_sequences or settings.gateway.max_sessions


def conversation_tokens(settings: Settings) -> int:
    """Return how many tokens of KV cache one conversation with a full history needs.

    The sum of the history, the longest reply, the longest utterance and the instructions, limited
    to the context length.
    """
    llm = settings.llm
    audio = int(llm.max_utterance_seconds * AUDIO_TOKENS_PER_SECOND) + 1
    tokens = llm.history_tokens + llm.reply_tokens + audio + INSTRUCTION_TOKENS
    return min(llm.context_tokens, tokens)
