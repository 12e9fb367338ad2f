"""A plan fits its card, has its reasons, and is refused with its numbers."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadSetting, CannotStart, TooLittleMemory
from appliance.gpu import Card, Plan, memory, plan
from appliance.gpu.cards import GIB, asked_for
from appliance.gpu.reference import KINDS, ultravox_8b
from appliance.settings import Settings, load, variable
from appliance.weights.checkpoint import Checkpoint


def gpu(**llm: object) -> Settings:
    environ = {f"VOICE_LLM_{name}".upper(): str(value) for name, value in llm.items()}
    return load({"VOICE_PROFILE": "gpu", **environ})


def card(name: str) -> Card:
    found = asked_for(name)
    assert found
    return found.as_card()


def sized(one: Card, size_bytes: int, held_bytes: int = 0) -> Card:
    return dataclasses.replace(
        one, memory_bytes=size_bytes, free_bytes=max(0, size_bytes - held_bytes)
    )


TINY = dataclasses.replace(
    ultravox_8b("bf16"), layers=2, heads=4, kv_heads=2, head_dim=32, hidden_size=128
)

cards = st.builds(
    lambda name, size, held: sized(card(name), size, held),
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


def planned(one: Card, model: Checkpoint, given: Settings) -> Plan | CannotStart:
    try:
        return plan(one, model, given)
    except CannotStart as refused:
        return refused


@given(cards, kinds, settings)
def test_a_plan_never_exceeds_its_card(one: Card, kind: str, given: Settings) -> None:
    made = planned(one, ultravox_8b(kind), given)
    if isinstance(made, CannotStart):
        return
    total = sum(item.size_bytes for item in made.items)
    headroom = sum(item.size_bytes for item in made.items if item.what == "headroom")
    slack = headroom if given.llm.memory_fraction else 0  # a set fraction may eat it
    assert total <= one.memory_bytes + slack
    inside = sum(item.size_bytes for item in made.items if item.in_vllm)
    assert inside <= made.memory_fraction * one.memory_bytes + 1
    # vLLM refuses to start where it is promised more than is free after its own context.
    promised = made.memory_fraction * one.memory_bytes
    assert promised <= one.free_bytes - memory.CONTEXT_BYTES + one.memory_bytes / 10_000
    assert made.kv_tokens >= made.context_tokens
    assert made.kv_bytes == made.kv_tokens * ultravox_8b(kind).kv_bytes_per_token(made.kv_dtype)
    assert made.kv_tokens % 16 == 0
    assert made.max_sequences >= 1
    assert made.reasons


@given(cards, kinds, settings, st.integers(1, 40 * GIB))
def test_more_memory_never_gives_less(one: Card, kind: str, given: Settings, more: int) -> None:
    small = planned(one, ultravox_8b(kind), given)
    if isinstance(small, CannotStart):
        return
    grown = dataclasses.replace(
        one, memory_bytes=one.memory_bytes + more, free_bytes=one.free_bytes + more
    )
    large = planned(grown, ultravox_8b(kind), given)
    if given.llm.memory_fraction:
        return  # the same part of a larger card may leave too little to the others
    assert isinstance(large, Plan)
    assert large.kv_tokens >= small.kv_tokens
    assert large.max_sequences >= small.max_sequences


@given(cards, kinds, settings)
def test_every_lack_of_memory_names_the_numbers_in_one_line_of_the_log(
    one: Card, kind: str, given: Settings
) -> None:
    refused = planned(one, ultravox_8b(kind), given)
    if not isinstance(refused, TooLittleMemory):
        return
    text = str(refused)
    assert one.name in text
    assert len(re.findall(r"\d+\.\d", text)) >= 4
    assert len(text) <= 500  # what the journal keeps of a text


@given(cards, kinds, st.integers(0, 20 * GIB), st.integers(0, 20 * GIB))
def test_less_that_is_free_never_gives_more(one: Card, kind: str, held: int, more: int) -> None:
    roomy = sized(one, one.memory_bytes, held)
    busy = sized(one, one.memory_bytes, held + more)
    made = planned(busy, ultravox_8b(kind), gpu())
    if isinstance(made, Plan):
        better = planned(roomy, ultravox_8b(kind), gpu())
        assert isinstance(better, Plan)
        assert better.kv_tokens >= made.kv_tokens


def test_the_sum_of_a_plan_is_the_card() -> None:
    l4 = card("L4")
    made = plan(l4, ultravox_8b("fp8"), gpu())
    rest = l4.memory_bytes - sum(item.size_bytes for item in made.items)
    assert 0 <= rest < 16 * 128 * 1024
    assert made.kv_tokens == pytest.approx(69_000, rel=0.02)
    assert made.max_sequences == 8
    assert made.kv_dtype == made.dtype == "bfloat16"


def test_the_plan_is_the_same_with_kokoro_loaded_or_not() -> None:
    l4 = card("L4")
    loaded = sized(l4, l4.memory_bytes, memory.KOKORO_BYTES)
    assert plan(loaded, ultravox_8b("fp8"), gpu()) == plan(l4, ultravox_8b("fp8"), gpu())


def test_as_many_replies_as_calls_or_as_full_calls_fit() -> None:
    assert plan(card("A10"), ultravox_8b("bf16"), gpu()).max_sequences == 3
    assert plan(card("A10"), ultravox_8b("w4a16"), gpu()).max_sequences == 8


def test_what_does_not_fit_at_once_is_told_as_a_reason() -> None:
    reasons = plan(card("A10"), ultravox_8b("bf16"), gpu()).reasons
    assert any("3 conversations" in reason and "8 calls" in reason for reason in reasons)
    assert any("would suit this card better" in reason for reason in reasons)


def test_fp8_for_the_past_is_taken_where_it_pays_and_the_card_has_it() -> None:
    assert plan(card("L4"), ultravox_8b("bf16"), gpu()).kv_dtype == "fp8"
    assert plan(card("L4"), ultravox_8b("fp8"), gpu()).kv_dtype == "bfloat16"
    assert plan(card("A10"), ultravox_8b("bf16"), gpu()).kv_dtype == "bfloat16"


def test_what_is_set_is_done() -> None:
    given = gpu(
        kv_dtype="fp8", max_sequences=3, memory_fraction=0.7, context_tokens=16384, dtype="bfloat16"
    )
    made = plan(card("L4"), ultravox_8b("fp8"), given)
    assert made.kv_dtype == "fp8"
    assert made.max_sequences == 3
    assert made.memory_fraction == 0.7
    assert made.context_tokens == 16384
    assert plan(card("L4"), ultravox_8b("bf16"), gpu(kv_dtype="bfloat16")).kv_dtype == "bfloat16"
    assert plan(card("H200"), ultravox_8b("bf16"), gpu(dtype="float32")).kv_dtype == "float32"


@pytest.mark.parametrize(
    ("name", "kind", "llm", "setting"),
    [
        ("L4", "fp8", {"dtype": "float64"}, "llm.dtype"),
        ("L4", "fp8", {"dtype": "float32"}, "llm.dtype"),
        ("L4", "fp8", {"kv_dtype": "int4"}, "llm.kv_dtype"),
        ("A10", "w4a16", {"kv_dtype": "fp8"}, "llm.kv_dtype"),
        ("H200", "bf16", {"dtype": "float32", "kv_dtype": "fp8"}, "llm.kv_dtype"),
        ("H200", "bf16", {"dtype": "float32", "kv_dtype": "bfloat16"}, "llm.kv_dtype"),
        ("L4", "fp8", {"memory_fraction": 1}, "llm.memory_fraction"),
        ("L4", "fp8", {"memory_fraction": -0.1}, "llm.memory_fraction"),
        ("L4", "fp8", {"memory_fraction": "nan"}, "llm.memory_fraction"),
        ("L4", "fp8", {"max_sequences": -1}, "llm.max_sequences"),
        ("L4", "fp8", {"context_tokens": 200_000}, "llm.context_tokens"),
        ("L4", "fp8", {"context_tokens": 4096}, "llm.context_tokens"),
        ("A10", "fp8", {}, "llm.model"),
        ("T4", "w4a16", {}, "llm.dtype"),
    ],
)
def test_what_cannot_work_is_refused_by_the_name_of_its_setting(
    name: str, kind: str, llm: dict[str, object], setting: str
) -> None:
    with pytest.raises(BadSetting, match=f"{setting}|{variable(setting)}"):
        plan(card(name), ultravox_8b(kind), gpu(**llm))


def test_int8_weights_are_refused_where_there_are_no_kernels_for_them() -> None:
    blackwell = Card("NVIDIA RTX PRO 6000", 95 * GIB, 95 * GIB, (12, 0), "580")
    with pytest.raises(BadSetting, match="INT8"):
        plan(blackwell, ultravox_8b("int8"), gpu())
    assert plan(blackwell, ultravox_8b("fp8"), gpu()).max_sequences == 8


@pytest.mark.parametrize(
    ("one", "kind", "llm"),
    [
        (sized(card("A10"), 15 * GIB), "bf16", {}),
        (card("L4"), "bf16", {"context_tokens": 65536}),
        (card("L4"), "fp8", {"max_sequences": 40}),
        (card("L4"), "fp8", {"memory_fraction": 0.97}),
        (card("L4"), "fp8", {"memory_fraction": 0.3}),
        (card("A10"), "bf16", {"dtype": "float32"}),
        (sized(card("L4"), 22 * GIB, held_bytes=15 * GIB), "w4a16", {}),
    ],
)
def test_what_does_not_fit_is_refused_with_the_sum(
    one: Card, kind: str, llm: dict[str, object]
) -> None:
    with pytest.raises(TooLittleMemory, match=r"Kokoro 1\.2|memory fraction") as refused:
        plan(one, ultravox_8b(kind), gpu(**llm))
    assert f"{one.memory_bytes / GIB:.1f} GiB" in str(refused.value)


def test_somebody_else_s_program_stands_in_the_sum() -> None:
    busy = sized(card("L4"), 22 * GIB, held_bytes=15 * GIB)
    with pytest.raises(TooLittleMemory, match=r"other programs 15\.0"):
        plan(busy, ultravox_8b("w4a16"), gpu())


def test_an_unknown_card_and_a_mig_instance_are_planned_by_their_memory() -> None:
    part = Card("NVIDIA H100 80GB HBM3 MIG 2g.20gb", 19 * GIB, 19 * GIB, (9, 0), "580")
    made = plan(part, ultravox_8b("w4a16"), gpu())
    assert made.kv_tokens > 60_000
    assert made.batched_tokens == 512


def test_without_a_card_it_is_float32_with_a_small_cache() -> None:
    made = plan(None, TINY, load({}))
    assert made.dtype == made.kv_dtype == "float32"
    assert made.kv_bytes <= GIB
    assert made.kv_tokens >= made.context_tokens == 4096
    assert made.max_sequences == load({}).gateway.max_sessions
    assert 0 < made.memory_fraction < 1


def test_without_a_card_one_context_fits_even_of_a_large_model() -> None:
    made = plan(None, ultravox_8b("bf16"), load({}))
    assert made.kv_tokens == 4096
    assert made.kv_bytes == 4096 * ultravox_8b("bf16").kv_bytes_per_token("float32")


def test_without_a_card_the_dtype_can_be_set_and_the_past_follows_it() -> None:
    given = load({"VOICE_LLM_DTYPE": "bfloat16", "VOICE_LLM_MAX_SEQUENCES": "2"})
    made = plan(None, TINY, given)
    assert (made.dtype, made.kv_dtype, made.max_sequences) == ("bfloat16", "bfloat16", 2)
    with pytest.raises(BadSetting, match="without a card"):
        plan(None, TINY, load({"VOICE_LLM_KV_DTYPE": "fp8"}))
