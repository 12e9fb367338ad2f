"""How vLLM is set up on a card: by the card, overridden by settings, refused where it won't fit.

The sum is: weights, activations, CUDA graphs and contexts, Kokoro, headroom; what is left is KV
cache. It goes by the card's whole memory, so that it comes out the same whether Kokoro is loaded
already or not, and takes off what other programs hold (memory.others). The numbers, worked out for
the usual cards, are in docs/hardware.md.
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
    Card,
    recommended,
)
from appliance.gpu.memory import Item
from appliance.settings import Settings
from appliance.weights.checkpoint import Checkpoint

BLOCK_TOKENS = 16  # vLLM hands the KV cache out in such blocks on CUDA
CPU_KV_BYTES = GIB  # of tests; more only if one context needs it
CPU_BLOCK_TOKENS = 128
_CPU_FRACTION = 0.1  # vLLM wants a number, and ignores it beside a given KV size

DTYPES = ("auto", "bfloat16", "float32")
KV_DTYPES = ("auto", "bfloat16", "fp8")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine is started with.

    memory_fraction  vLLM's gpu_memory_utilization: weights, activations, graphs and KV cache
    context_tokens   the longest prompt and reply together
    max_sequences    replies decoded at the same time
    kv_dtype         how the past is kept: bfloat16, float16, float32 or fp8
    kv_tokens        tokens of all conversations that fit
    dtype            what is calculated in
    kv_bytes         size of the KV cache; given to vLLM, nothing depends on when Kokoro loads
    batched_tokens   tokens of prompts read in one step
    items            the sum, KV cache last
    reasons          why, one sentence each
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
    items: tuple[Item, ...] = ()


def plan(card: Card | None, checkpoint: Checkpoint, settings: Settings) -> Plan:
    """The plan for a card, or without one for tests on a CPU.

    Raises BadSetting for a value that is none of those there are, or that the card or the weights
    cannot do, and TooLittleMemory, with the sum, where it does not fit.
    """
    _check(checkpoint, settings)
    if card is None:
        return _on_cpu(checkpoint, settings)
    _check_card(card, checkpoint, settings)
    own = settings.llm
    dtype = checkpoint.dtype if own.dtype == "auto" else own.dtype
    batched = speed.batched_tokens(card, checkpoint)
    items = memory.fixed(card, checkpoint, settings, dtype, batched)
    room = _room(card, items, settings)
    kv_dtype, kv_bytes, kv_reason = _kv(card, checkpoint, settings, dtype, room)
    per_token = checkpoint.kv_bytes_per_token(kv_dtype)
    kv_tokens = max(0, kv_bytes) // per_token // BLOCK_TOKENS * BLOCK_TOKENS
    needed = max(own.context_tokens, own.max_sequences * memory.conversation_tokens(settings))
    if kv_tokens < needed:
        raise _too_little(card, items, settings, needed * per_token, f"KV of {needed:,} tokens")
    in_vllm = sum(item.size_bytes for item in items if item.in_vllm) + kv_tokens * per_token
    held = kv_tokens // memory.conversation_tokens(settings)
    sequences = own.max_sequences or max(1, min(settings.gateway.max_sessions, held))
    return Plan(
        memory_fraction=own.memory_fraction
        or math.ceil(in_vllm / card.memory_bytes * 10_000) / 10_000,
        context_tokens=own.context_tokens,
        max_sequences=sequences,
        kv_dtype=kv_dtype,
        kv_tokens=kv_tokens,
        reasons=(
            _weights_reason(card, checkpoint),
            kv_reason,
            _calls_reason(card, checkpoint, settings, held),
            f"a long prompt is read {batched} tokens at a step, while the other replies wait",
        ),
        dtype=dtype,
        kv_bytes=kv_tokens * per_token,
        batched_tokens=batched,
        items=(*items, Item(f"KV of {kv_tokens:,} tokens", kv_tokens * per_token, True)),
    )


def _check(checkpoint: Checkpoint, settings: Settings) -> None:
    own = settings.llm
    for name, value, known in (("dtype", own.dtype, DTYPES), ("kv_dtype", own.kv_dtype, KV_DTYPES)):
        if value not in known:
            raise BadSetting(name=f"llm.{name}", why=f"{value!r} is none of {list(known)}")
    if not 0 <= own.memory_fraction < 1:
        why = f"{own.memory_fraction:g} is no part of the card's memory: above 0 and below 1"
        raise BadSetting(name="llm.memory_fraction", why=why)
    if own.max_sequences < 0 or settings.gateway.max_sessions < 1:
        raise BadSetting(name="llm.max_sequences", why="nothing could be decoded")
    if own.context_tokens > checkpoint.max_positions:
        why = f"{own.context_tokens:,} tokens; the model was made for {checkpoint.max_positions:,}"
        raise BadSetting(name="llm.context_tokens", why=why)
    past = own.history_tokens + own.reply_tokens
    if own.context_tokens <= past:
        why = f"{own.context_tokens:,} tokens do not hold the history and a reply, {past:,}"
        raise BadSetting(name="llm.context_tokens", why=why)


def _check_card(card: Card, checkpoint: Checkpoint, settings: Settings) -> None:
    own, kind = settings.llm, checkpoint.quantization
    has = f"{card.name} has {card.capability[0]}.{card.capability[1]}"
    if card.capability < BFLOAT16_CAPABILITY:
        why = f"bfloat16 needs compute capability 8.0, and {has}"
        raise BadSetting(name="llm.dtype", why=why)
    if own.dtype == "float32" and kind:
        why = f"{kind} weights are calculated with in bfloat16, not in float32"
        raise BadSetting(name="llm.dtype", why=why)
    if own.dtype == "float32" and own.kv_dtype == "fp8":
        raise BadSetting(name="llm.kv_dtype", why="fp8 goes with bfloat16, not with float32")
    if own.kv_dtype == "fp8" and card.capability < FP8_CAPABILITY:
        why = f"fp8 needs compute capability 8.9, and {has}"
        raise BadSetting(name="llm.kv_dtype", why=why)
    better = " or ".join(recommended(card)[0])
    if kind == "fp8" and card.capability < FP8_CAPABILITY:
        why = f"its weights are FP8, which needs compute capability 8.9, and {has}: take {better}"
        raise BadSetting(name="llm.model", why=why)
    if kind == "int8" and card.capability >= NO_INT8_CAPABILITY:
        why = (
            f"its weights are INT8, for which vLLM has nothing from 10.0, and {has}: take {better}"
        )
        raise BadSetting(name="llm.model", why=why)


def _room(card: Card, items: tuple[Item, ...], settings: Settings) -> int:
    """Bytes for the KV cache; may be negative."""
    inside = sum(item.size_bytes for item in items if item.in_vllm)
    outside = sum(item.size_bytes for item in items if not item.in_vllm)
    fraction = settings.llm.memory_fraction
    if not fraction:
        return card.memory_bytes - inside - outside
    budget = int(fraction * card.memory_bytes)
    beside = [item for item in items if not item.in_vllm and item.what != "headroom"]
    most = card.memory_bytes - sum(item.size_bytes for item in beside)
    most = min(most, card.free_bytes - memory.CONTEXT_BYTES)
    if budget > most:
        raise TooLittleMemory(
            card=card.title,
            sum=f"{fraction:g} of it for vLLM are {budget / GIB:.1f} GiB, and beside "
            f"{' + '.join(map(str, beside))} there are {most / GIB:.1f} GiB",
        )
    return budget - inside


def _kv(
    card: Card, checkpoint: Checkpoint, settings: Settings, dtype: str, room: int
) -> tuple[str, int, str]:
    """How the past is kept, in how many bytes, and why."""
    own = settings.llm
    if own.kv_dtype == "fp8":
        return "fp8", room, "KV in fp8, as set"
    wanted = memory.most_sequences(settings) * memory.conversation_tokens(settings)
    wanted = max(wanted, own.context_tokens)
    plain = checkpoint.kv_bytes_per_token(dtype)
    if own.kv_dtype == "bfloat16" and dtype == "float32":
        raise BadSetting(name="llm.kv_dtype", why="bfloat16 does not go with dtype float32")
    if own.kv_dtype == "bfloat16":
        return dtype, room, f"KV in {dtype}, as set"
    if room >= wanted * plain:
        return dtype, room, f"KV in {dtype}: all calls' conversations fit, fp8 would gain nothing"
    if card.capability < FP8_CAPABILITY or dtype == "float32":
        return dtype, room, f"KV in {dtype}: fp8 needs compute capability 8.9 and dtype bfloat16"
    # No more than asked for: beyond that bfloat16 fits, and more memory shall not mean less.
    needed = -(-wanted // BLOCK_TOKENS) * BLOCK_TOKENS * checkpoint.kv_bytes_per_token("fp8")
    return "fp8", min(room, needed), f"KV in fp8: in {dtype} not all calls' conversations fit"


def _weights_reason(card: Card, checkpoint: Checkpoint) -> str:
    kinds, why = recommended(card)
    kind = checkpoint.quantization or "bf16"
    if kind in kinds:
        return f"{kind} weights suit this card: {why}"
    return f"{kind} weights work; {' or '.join(kinds)} would suit this card better: {why}"


def _calls_reason(card: Card, checkpoint: Checkpoint, settings: Settings, held: int) -> str:
    calls, size = settings.gateway.max_sessions, memory.conversation_tokens(settings)
    if held >= calls:
        return f"{held} conversations of {size:,} tokens fit; {calls} calls are let in"
    again = speed.prefill_seconds(card, checkpoint, size)
    cost = f" (about {again:.1f} s each time)" if again else ""
    return (
        f"{held} conversations of {size:,} tokens fit, and {calls} calls are let in: when all have "
        f"a full history, some are read anew{cost}"
    )


def _too_little(
    card: Card, items: tuple[Item, ...], settings: Settings, kv_bytes: int, kv: str
) -> TooLittleMemory:
    fraction = settings.llm.memory_fraction
    counted = [item for item in items if item.in_vllm or not fraction]
    there = f"{(fraction or 1) * card.memory_bytes / GIB:.1f} GiB"
    there = f"the memory fraction of {fraction:g} is {there}" if fraction else f"there are {there}"
    total = sum(item.size_bytes for item in counted) + kv_bytes
    parts = " + ".join(str(item) for item in [*counted, Item(kv, kv_bytes, True)])
    return TooLittleMemory(card=card.title, sum=f"{parts} = {total / GIB:.1f} GiB, and {there}")


def _on_cpu(checkpoint: Checkpoint, settings: Settings) -> Plan:
    own = settings.llm
    dtype = "float32" if own.dtype == "auto" else own.dtype
    if own.kv_dtype not in ("auto", dtype):
        why = f"{own.kv_dtype} does not go with dtype {dtype} without a card"
        raise BadSetting(name="llm.kv_dtype", why=why)
    per_token = checkpoint.kv_bytes_per_token(dtype)
    sequences = memory.most_sequences(settings)
    wanted = min(sequences * own.context_tokens, CPU_KV_BYTES // per_token)
    tokens = -(-max(own.context_tokens, wanted) // CPU_BLOCK_TOKENS) * CPU_BLOCK_TOKENS
    return Plan(
        memory_fraction=own.memory_fraction or _CPU_FRACTION,
        context_tokens=own.context_tokens,
        max_sequences=sequences,
        kv_dtype=dtype,
        kv_tokens=tokens,
        reasons=(f"no card: {dtype} on the CPU, for tests",),
        dtype=dtype,
        kv_bytes=tokens * per_token,
        batched_tokens=2048,
    )
