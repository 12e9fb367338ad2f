"""Plans how vLLM runs on a card. Settings override the derived values.

The budget contains weights, activations, CUDA graphs and context, Kokoro, and headroom. The KV
cache gets the rest. The budget starts from the card's whole memory minus that of other programs
(memory.other_programs_bytes), so it is the same whether or not Kokoro is already loaded.
docs/hardware.md has the results for common cards. No I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from appliance.errors import BadSetting, TooLittleMemory
from appliance.gpu import memory, speed
from appliance.gpu.cards import (
    BFLOAT16_CAPABILITY,
    FP8_CAPABILITY,
    GIB,
    NO_INT8_CAPABILITY,
    GpuCard,
    recommend_weights,
)
from appliance.gpu.memory import MemoryItem
from appliance.settings import Settings
from appliance.weights.checkpoint import Checkpoint

BLOCK_TOKENS = 16  # vLLM's KV cache block on CUDA
CPU_BLOCK_TOKENS = 128  # vLLM's KV cache block on a CPU
CPU_KV_BYTES = GIB  # enough for tests; exceeded only if one context needs more
CPU_BATCHED_TOKENS = 2048
_CPU_FRACTION = 0.1  # vLLM requires a number, and ignores it if the KV size is set


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start vLLM.

    memory_fraction  vLLM's gpu_memory_utilization: weights, activations, graphs and KV cache
    context_tokens   limit for prompt and reply together
    max_sequences    replies decoded at the same time
    kv_dtype         data type of the KV cache: bfloat16, float16, float32 or fp8
    kv_tokens        capacity of the KV cache
    dtype            data type of the computation
    kv_bytes         size of the KV cache; set explicitly, so it does not depend on load order
    batched_tokens   prompt tokens processed in one step
    items            the memory budget, KV cache last
    reasons          one sentence per decision
    """

    memory_fraction: float
    context_tokens: int
    max_sequences: int
    kv_dtype: str
    kv_tokens: int
    reasons: tuple[str, ...]
    dtype: str
    kv_bytes: int
    batched_tokens: int
    items: tuple[MemoryItem, ...] = ()


def plan(card: GpuCard | None, checkpoint: Checkpoint, settings: Settings) -> Plan:
    """Plan for a card. If `card` is None, plan for tests on a CPU.

    Raises BadSetting for a setting that the card or the weights do not support. Raises
    TooLittleMemory, with the budget, if the model does not fit.
    """
    if settings.llm.context_tokens > checkpoint.max_positions:
        tokens = settings.llm.context_tokens
        why = f"{tokens:,} tokens; the model supports {checkpoint.max_positions:,}"
        raise BadSetting(name="llm.context_tokens", why=why)
    if card is None:
        return _plan_for_cpu(checkpoint, settings)
    _check_card(card, checkpoint, settings)
    llm = settings.llm
    dtype = checkpoint.dtype if llm.dtype == "auto" else llm.dtype
    batched = speed.batched_tokens(card, checkpoint)
    items = memory.fixed_items(card, checkpoint, settings, dtype, batched)
    available = _bytes_for_kv(card, items, settings)
    kv_dtype, kv_bytes, kv_reason = _choose_kv(card, checkpoint, settings, dtype, available)
    per_token = checkpoint.kv_bytes_per_token(kv_dtype)
    kv_tokens = max(0, kv_bytes) // per_token // BLOCK_TOKENS * BLOCK_TOKENS
    conversation = memory.conversation_tokens(settings)
    required = max(llm.context_tokens, llm.max_sequences * conversation)
    if kv_tokens < required:
        kv_item = MemoryItem(f"KV of {required:,} tokens", required * per_token, True)
        raise _too_little_memory(card, items, settings, kv_item)
    in_vllm = sum(item.size_bytes for item in items if item.in_vllm) + kv_tokens * per_token
    conversations = kv_tokens // conversation
    sequences = llm.max_sequences or max(1, min(settings.gateway.max_sessions, conversations))
    return Plan(
        memory_fraction=llm.memory_fraction
        or math.ceil(in_vllm / card.memory_bytes * 10_000) / 10_000,
        context_tokens=llm.context_tokens,
        max_sequences=sequences,
        kv_dtype=kv_dtype,
        kv_tokens=kv_tokens,
        reasons=(
            _weights_reason(card, checkpoint),
            kv_reason,
            _conversations_reason(card, checkpoint, settings, conversations),
            f"prefill in steps of {batched} tokens: all other replies wait for each step",
        ),
        dtype=dtype,
        kv_bytes=kv_tokens * per_token,
        batched_tokens=batched,
        items=(*items, MemoryItem(f"KV of {kv_tokens:,} tokens", kv_tokens * per_token, True)),
    )


def _check_card(card: GpuCard, checkpoint: Checkpoint, settings: Settings) -> None:
    llm, kind = settings.llm, checkpoint.quantization
    dtype = checkpoint.dtype if llm.dtype == "auto" else llm.dtype
    actual = f"{card.name} has {card.capability[0]}.{card.capability[1]}"
    if card.capability < BFLOAT16_CAPABILITY:
        why = f"bfloat16 needs compute capability 8.0, and {actual}"
        raise BadSetting(name="llm.dtype", why=why)
    if llm.dtype == "float32" and kind:
        why = f"{kind} weights need bfloat16, not float32"
        raise BadSetting(name="llm.dtype", why=why)
    if dtype == "float32" and llm.kv_dtype != "auto":
        why = f"{llm.kv_dtype} needs dtype bfloat16, not float32"
        raise BadSetting(name="llm.kv_dtype", why=why)
    if llm.kv_dtype == "fp8" and card.capability < FP8_CAPABILITY:
        why = f"fp8 needs compute capability 8.9, and {actual}"
        raise BadSetting(name="llm.kv_dtype", why=why)
    recommended = " or ".join(recommend_weights(card)[0])
    if kind == "fp8" and card.capability < FP8_CAPABILITY:
        why = f"FP8 weights need compute capability 8.9, and {actual}: use {recommended}"
        raise BadSetting(name="llm.model", why=why)
    if kind == "int8" and card.capability >= NO_INT8_CAPABILITY:
        unsupported = "vLLM has no INT8 kernels from compute capability 10.0 on"
        why = f"{unsupported}, and {actual}: use {recommended}"
        raise BadSetting(name="llm.model", why=why)


def _bytes_for_kv(card: GpuCard, items: tuple[MemoryItem, ...], settings: Settings) -> int:
    """Return the bytes available to the KV cache; may be negative."""
    vllm_bytes = sum(item.size_bytes for item in items if item.in_vllm)
    other_bytes = sum(item.size_bytes for item in items if not item.in_vllm)
    fraction = settings.llm.memory_fraction
    if not fraction:
        return card.memory_bytes - vllm_bytes - other_bytes
    budget = int(fraction * card.memory_bytes)
    required = [item for item in items if not item.in_vllm and item.label != "headroom"]
    available = card.memory_bytes - sum(item.size_bytes for item in required)
    available = min(available, card.free_bytes - memory.CONTEXT_BYTES)
    if budget > available:
        raise TooLittleMemory(
            card=card.title,
            sum=f"vLLM's share of {fraction:g} is {budget / GIB:.1f} GiB, and beside "
            f"{' + '.join(map(str, required))} only {available / GIB:.1f} GiB are available",
        )
    return budget - vllm_bytes


def _choose_kv(
    card: GpuCard, checkpoint: Checkpoint, settings: Settings, dtype: str, available: int
) -> tuple[str, int, str]:
    """Choose the data type and size of the KV cache. Returns both, and the reason."""
    llm = settings.llm
    if llm.kv_dtype == "fp8":
        return "fp8", available, "KV cache in fp8, as set"
    if llm.kv_dtype == "bfloat16":
        return dtype, available, f"KV cache in {dtype}, as set"
    wanted = memory.max_sequences(settings) * memory.conversation_tokens(settings)
    wanted = max(wanted, llm.context_tokens)
    if available >= wanted * checkpoint.kv_bytes_per_token(dtype):
        return dtype, available, f"KV cache in {dtype}: all conversations fit, fp8 gains nothing"
    if card.capability < FP8_CAPABILITY or dtype == "float32":
        why = f"KV cache in {dtype}: fp8 needs compute capability 8.9 and dtype bfloat16"
        return dtype, available, why
    # Use no more than the wanted tokens. Otherwise a larger card, on which they fit in bfloat16,
    # would get fewer tokens than this card.
    needed = -(-wanted // BLOCK_TOKENS) * BLOCK_TOKENS * checkpoint.kv_bytes_per_token("fp8")
    return "fp8", min(available, needed), f"KV cache in fp8: not all conversations fit in {dtype}"


def _weights_reason(card: GpuCard, checkpoint: Checkpoint) -> str:
    kinds, why = recommend_weights(card)
    kind = checkpoint.quantization or "bf16"
    if kind in kinds:
        return f"{kind} weights suit this card: {why}"
    return f"{kind} weights work; {' or '.join(kinds)} would suit this card better: {why}"


def _conversations_reason(
    card: GpuCard, checkpoint: Checkpoint, settings: Settings, conversations: int
) -> str:
    sessions, size = settings.gateway.max_sessions, memory.conversation_tokens(settings)
    fit = f"{conversations} conversations of {size:,} tokens fit"
    if conversations >= sessions:
        return f"{fit}; {sessions} calls are admitted"
    seconds = speed.prefill_seconds(card, checkpoint, size)
    cost = f" (about {seconds:.1f} s each time)" if seconds else ""
    return (
        f"{fit}, and {sessions} calls are admitted: when all have a full history, some need "
        f"another prefill{cost}"
    )


def _too_little_memory(
    card: GpuCard, items: tuple[MemoryItem, ...], settings: Settings, kv_item: MemoryItem
) -> TooLittleMemory:
    fraction = settings.llm.memory_fraction
    counted = [*(item for item in items if item.in_vllm or not fraction), kv_item]
    total = sum(item.size_bytes for item in counted)
    available = f"{(fraction or 1) * card.memory_bytes / GIB:.1f} GiB"
    limit = f"the memory fraction of {fraction:g} is {available}"
    limit = limit if fraction else f"the card has {available}"
    return TooLittleMemory(
        card=card.title, sum=f"{' + '.join(map(str, counted))} = {total / GIB:.1f} GiB, and {limit}"
    )


def _plan_for_cpu(checkpoint: Checkpoint, settings: Settings) -> Plan:
    llm = settings.llm
    dtype = "float32" if llm.dtype == "auto" else llm.dtype
    if llm.kv_dtype not in ("auto", dtype):
        why = f"{llm.kv_dtype} needs a card with dtype bfloat16; without a card it is {dtype}"
        raise BadSetting(name="llm.kv_dtype", why=why)
    per_token = checkpoint.kv_bytes_per_token(dtype)
    sequences = memory.max_sequences(settings)
    wanted = min(sequences * llm.context_tokens, CPU_KV_BYTES // per_token)
    tokens = -(-max(llm.context_tokens, wanted) // CPU_BLOCK_TOKENS) * CPU_BLOCK_TOKENS
    return Plan(
        memory_fraction=llm.memory_fraction or _CPU_FRACTION,
        context_tokens=llm.context_tokens,
        max_sequences=sequences,
        kv_dtype=dtype,
        kv_tokens=tokens,
        reasons=(f"no card: {dtype} on the CPU, for tests",),
        dtype=dtype,
        kv_bytes=tokens * per_token,
        batched_tokens=CPU_BATCHED_TOKENS,
    )
