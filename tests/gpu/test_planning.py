"""A plan fits its card and states its reasons, or is refused with the numbers."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadSetting, CannotStart, TooLittleMemory
from appliance.gpu import GpuCard, Plan, memory, plan
from appliance.gpu.cards import GIB, find_model
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.settings import Settings, load, variable
from appliance.weights.checkpoint import Checkpoint


def gpu(**llm: object) -> Settings:
    environ = {f"VOICE_LLM_{name}".upper(): str(value) for name, value in llm.items()}
    return load({"VOICE_PROFILE": "gpu", **environ})


def card(name: str) -> GpuCard:
    model = find_model(name)
    assert model
    return model.as_card()


def resized(card: GpuCard, size_bytes: int, held_bytes: int = 0) -> GpuCard:
    return dataclasses.replace(
        card, memory_bytes=size_bytes, free_bytes=max(0, size_bytes - held_bytes)
    )


TINY = dataclasses.replace(
    ultravox_8b("bf16"), layers=2, heads=4, kv_heads=2, head_dim=32, hidden_size=128
)

cards = st.builds(
    lambda name, size, held: resized(card(name), size, held),
    st.sampled_from(["L4", "A10", "RTX 4090", "A100-80GB", "H200"]),
    st.integers(GIB, 150 * GIB),
    st.integers(0, 30 * GIB),
)
kinds = st.sampled_from(KINDS)
settings = st.builds(
    gpu,
    context_tokens=st.integers(4300, 131072),
    max_sequences=st.integers(0, 64),
    kv_dtype=st.sampled_from(["auto", "bfloat16", "fp8"]),
    memory_fraction=st.one_of(st.just(0.0), st.floats(0.01, 0.99)),
    max_utterance_seconds=st.floats(1, 600),
)


def try_plan(card: GpuCard, model: Checkpoint, settings: Settings) -> Plan | CannotStart:
    try:
        return plan(card, model, settings)
    except CannotStart as refusal:
        return refusal


@given(cards, kinds, settings)
def test_plan_never_exceeds_its_card(card: GpuCard, kind: str, settings: Settings) -> None:
    model = ultravox_8b(kind)
    result = try_plan(card, model, settings)
    if isinstance(result, CannotStart):
        return
    total = sum(item.size_bytes for item in result.items)
    headroom = sum(item.size_bytes for item in result.items if item.label == "headroom")
    slack = headroom if settings.llm.memory_fraction else 0  # a set fraction may use the headroom
    assert total <= card.memory_bytes + slack
    inside = sum(item.size_bytes for item in result.items if item.in_vllm)
    assert inside <= result.memory_fraction * card.memory_bytes + 1
    # vLLM refuses to start if its share is more than what is free after its own context.
    share = result.memory_fraction * card.memory_bytes
    assert share <= card.free_bytes - memory.CONTEXT_BYTES + card.memory_bytes / 10_000
    assert result.kv_tokens >= result.context_tokens
    assert result.kv_bytes == result.kv_tokens * model.kv_bytes_per_token(result.kv_dtype)
    assert result.kv_tokens % 16 == 0
    assert result.max_sequences >= 1
    assert result.reasons


@given(cards, kinds, settings, st.integers(1, 40 * GIB))
def test_larger_card_never_gets_less(
    card: GpuCard, kind: str, settings: Settings, more: int
) -> None:
    if settings.llm.memory_fraction:
        return  # the same share of a larger card may leave too little to the other programs
    small = try_plan(card, ultravox_8b(kind), settings)
    if isinstance(small, CannotStart):
        return
    larger = dataclasses.replace(
        card, memory_bytes=card.memory_bytes + more, free_bytes=card.free_bytes + more
    )
    large = try_plan(larger, ultravox_8b(kind), settings)
    assert isinstance(large, Plan)
    assert large.kv_tokens >= small.kv_tokens
    assert large.max_sequences >= small.max_sequences


@given(cards, kinds, settings)
def test_refusal_for_lack_of_memory_states_the_numbers_within_the_logs_limit(
    card: GpuCard, kind: str, settings: Settings
) -> None:
    refusal = try_plan(card, ultravox_8b(kind), settings)
    if not isinstance(refusal, TooLittleMemory):
        return
    text = str(refusal)
    assert card.name in text
    assert len(re.findall(r"\d+\.\d", text)) >= 4
    assert len(text) <= 500  # the journal cuts longer texts


@given(cards, kinds, st.integers(0, 20 * GIB), st.integers(0, 20 * GIB))
def test_less_free_memory_never_gives_more(card: GpuCard, kind: str, held: int, more: int) -> None:
    roomy = resized(card, card.memory_bytes, held)
    busy = resized(card, card.memory_bytes, held + more)
    result = try_plan(busy, ultravox_8b(kind), gpu())
    if isinstance(result, Plan):
        better = try_plan(roomy, ultravox_8b(kind), gpu())
        assert isinstance(better, Plan)
        assert better.kv_tokens >= result.kv_tokens


def test_items_of_a_plan_add_up_to_the_card() -> None:
    l4 = card("L4")
    result = plan(l4, ultravox_8b("fp8"), gpu())
    unused = l4.memory_bytes - sum(item.size_bytes for item in result.items)
    assert 0 <= unused < 16 * 128 * 1024
    assert result.kv_tokens == pytest.approx(69_000, rel=0.02)
    assert result.max_sequences == 8
    assert result.kv_dtype == result.dtype == "bfloat16"


def test_plan_is_the_same_whether_or_not_kokoro_is_loaded() -> None:
    l4 = card("L4")
    loaded = resized(l4, l4.memory_bytes, memory.KOKORO_BYTES)
    assert plan(loaded, ultravox_8b("fp8"), gpu()) == plan(l4, ultravox_8b("fp8"), gpu())


def test_replies_are_limited_by_calls_and_by_full_conversations_that_fit() -> None:
    assert plan(card("A10"), ultravox_8b("bf16"), gpu()).max_sequences == 3
    assert plan(card("A10"), ultravox_8b("w4a16"), gpu()).max_sequences == 8


def test_reasons_state_that_not_all_conversations_fit() -> None:
    reasons = plan(card("A10"), ultravox_8b("bf16"), gpu()).reasons
    assert any("3 conversations" in reason and "8 calls" in reason for reason in reasons)
    assert any("would suit this card better" in reason for reason in reasons)


def test_fp8_kv_cache_is_used_only_where_it_helps_and_the_card_supports_it() -> None:
    assert plan(card("L4"), ultravox_8b("bf16"), gpu()).kv_dtype == "fp8"
    assert plan(card("L4"), ultravox_8b("fp8"), gpu()).kv_dtype == "bfloat16"
    assert plan(card("A10"), ultravox_8b("bf16"), gpu()).kv_dtype == "bfloat16"


def test_settings_override_the_derived_values() -> None:
    settings = gpu(
        kv_dtype="fp8", max_sequences=3, memory_fraction=0.7, context_tokens=16384, dtype="bfloat16"
    )
    result = plan(card("L4"), ultravox_8b("fp8"), settings)
    assert result.kv_dtype == "fp8"
    assert result.max_sequences == 3
    assert result.memory_fraction == 0.7
    assert result.context_tokens == 16384
    assert plan(card("L4"), ultravox_8b("bf16"), gpu(kv_dtype="bfloat16")).kv_dtype == "bfloat16"
    assert plan(card("H200"), ultravox_8b("bf16"), gpu(dtype="float32")).kv_dtype == "float32"


@pytest.mark.parametrize(
    ("name", "kind", "llm", "setting"),
    [
        ("L4", "fp8", {"dtype": "float32"}, "llm.dtype"),
        ("A10", "w4a16", {"kv_dtype": "fp8"}, "llm.kv_dtype"),
        ("L4", "fp8", {"context_tokens": 200_000}, "llm.context_tokens"),
        ("A10", "fp8", {}, "llm.model"),
        ("T4", "w4a16", {}, "llm.dtype"),
    ],
)
def test_setting_that_card_or_weights_do_not_support_is_refused_by_name(
    name: str, kind: str, llm: dict[str, object], setting: str
) -> None:
    with pytest.raises(BadSetting, match=f"{setting}|{variable(setting)}"):
        plan(card(name), ultravox_8b(kind), gpu(**llm))


@pytest.mark.parametrize(
    "llm",
    [
        {"dtype": "float64"},
        {"kv_dtype": "int4"},
        {"kv_dtype": "fp8", "dtype": "float32"},
        {"kv_dtype": "bfloat16", "dtype": "float32"},
        {"memory_fraction": 1},
        {"memory_fraction": -0.1},
        {"memory_fraction": "nan"},
        {"max_sequences": -1},
        {"context_tokens": 4096},  # the profile's history and reply need more
    ],
    ids=str,
)
def test_invalid_setting_is_refused_before_a_plan_is_made(llm: dict[str, object]) -> None:
    with pytest.raises(BadSetting, match=f"VOICE_LLM_{next(iter(llm)).upper()}"):
        gpu(**llm)


@pytest.mark.parametrize("kv_dtype", ["bfloat16", "fp8"])
def test_kv_dtype_is_refused_for_weights_in_float32(kv_dtype: str) -> None:
    model = dataclasses.replace(ultravox_8b("bf16"), dtype="float32")
    with pytest.raises(BadSetting, match=r"llm\.kv_dtype"):
        plan(card("H200"), model, gpu(kv_dtype=kv_dtype))


def test_int8_weights_are_refused_on_a_card_without_kernels_for_them() -> None:
    blackwell = GpuCard("NVIDIA RTX PRO 6000", 95 * GIB, 95 * GIB, (12, 0), "580")
    with pytest.raises(BadSetting, match="INT8"):
        plan(blackwell, ultravox_8b("int8"), gpu())
    assert plan(blackwell, ultravox_8b("fp8"), gpu()).max_sequences == 8


@pytest.mark.parametrize(
    ("card", "kind", "llm"),
    [
        (resized(card("A10"), 15 * GIB), "bf16", {}),
        (card("L4"), "bf16", {"context_tokens": 65536}),
        (card("L4"), "fp8", {"max_sequences": 40}),
        (card("L4"), "fp8", {"memory_fraction": 0.97}),
        (card("L4"), "fp8", {"memory_fraction": 0.3}),
        (card("A10"), "bf16", {"dtype": "float32"}),
        (resized(card("L4"), 22 * GIB, held_bytes=15 * GIB), "w4a16", {}),
    ],
)
def test_plan_that_does_not_fit_is_refused_with_the_budget(
    card: GpuCard, kind: str, llm: dict[str, object]
) -> None:
    with pytest.raises(TooLittleMemory, match=r"Kokoro 1\.2|memory fraction") as refusal:
        plan(card, ultravox_8b(kind), gpu(**llm))
    assert f"{card.memory_bytes / GIB:.1f} GiB" in str(refusal.value)


def test_other_programs_appear_in_the_budget() -> None:
    busy = resized(card("L4"), 22 * GIB, held_bytes=15 * GIB)
    with pytest.raises(TooLittleMemory, match=r"other programs 15\.0"):
        plan(busy, ultravox_8b("w4a16"), gpu())


def test_mig_instance_is_planned_by_its_memory() -> None:
    instance = GpuCard("NVIDIA H100 80GB HBM3 MIG 2g.20gb", 19 * GIB, 19 * GIB, (9, 0), "580")
    result = plan(instance, ultravox_8b("w4a16"), gpu())
    assert result.kv_tokens > 60_000
    assert result.batched_tokens == 512


def test_plan_without_a_card_is_float32_with_a_small_kv_cache() -> None:
    result = plan(None, TINY, load({}))
    assert result.dtype == result.kv_dtype == "float32"
    assert result.kv_bytes <= GIB
    assert result.kv_tokens >= result.context_tokens == 4096
    assert result.max_sequences == load({}).gateway.max_sessions
    assert 0 < result.memory_fraction < 1


def test_plan_without_a_card_holds_one_context_even_of_a_large_model() -> None:
    result = plan(None, ultravox_8b("bf16"), load({}))
    assert result.kv_tokens == 4096
    assert result.kv_bytes == 4096 * ultravox_8b("bf16").kv_bytes_per_token("float32")


def test_kv_cache_without_a_card_follows_the_set_dtype() -> None:
    settings = load({"VOICE_LLM_DTYPE": "bfloat16", "VOICE_LLM_MAX_SEQUENCES": "2"})
    result = plan(None, TINY, settings)
    assert (result.dtype, result.kv_dtype, result.max_sequences) == ("bfloat16", "bfloat16", 2)
    with pytest.raises(BadSetting, match="without a card"):
        plan(None, TINY, load({"VOICE_LLM_KV_DTYPE": "fp8"}))
