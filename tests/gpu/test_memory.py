"""The items of the memory budget."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.gpu import memory
from appliance.gpu.cards import GIB, GpuCard, find_model
from appliance.gpu.reference import ultravox_8b
from appliance.settings import Settings, load

GPU = load({"VOICE_PROFILE": "gpu"})
TTS_ON_CPU = load({"VOICE_PROFILE": "gpu", "VOICE_TTS_DEVICE": "cpu"})


@pytest.fixture
def l4() -> GpuCard:
    model = find_model("L4")
    assert model
    return model.as_card()


def sizes(card: GpuCard, settings: Settings = GPU, dtype: str = "bfloat16") -> dict[str, int]:
    items = memory.fixed_items(card, ultravox_8b("bf16"), settings, dtype, 512)
    return {item.label: item.size_bytes for item in items}


def test_weights_are_counted_completely(l4: GpuCard) -> None:
    items = sizes(l4)
    total = items["language model"] + items["audio encoder and projector"]
    assert total == ultravox_8b("bf16").weights_bytes.total


def test_weights_are_twice_as_large_in_float32(l4: GpuCard) -> None:
    assert sizes(l4, dtype="float32")["language model"] == 2 * sizes(l4)["language model"]


def test_kokoro_is_counted_only_if_it_shares_the_card(l4: GpuCard) -> None:
    assert sizes(l4)["Kokoro"] == memory.KOKORO_BYTES
    assert "Kokoro" not in sizes(l4, TTS_ON_CPU)


def test_budget_is_the_same_whether_or_not_kokoro_is_loaded(l4: GpuCard) -> None:
    loaded = dataclasses.replace(l4, free_bytes=l4.memory_bytes - memory.KOKORO_BYTES)
    assert sizes(loaded) == sizes(l4)


def test_memory_of_another_program_is_left_to_it(l4: GpuCard) -> None:
    busy = dataclasses.replace(l4, free_bytes=l4.memory_bytes - 4 * GIB)
    assert sizes(busy)["other programs"] == 4 * GIB


def test_held_memory_is_attributed_to_kokoro_only_if_it_shares_the_card(l4: GpuCard) -> None:
    busy = dataclasses.replace(l4, free_bytes=l4.memory_bytes - GIB)
    assert memory.other_programs_bytes(busy, TTS_ON_CPU) == GIB
    assert memory.other_programs_bytes(busy, GPU) == 0


def test_activations_grow_with_the_step_and_the_longest_utterance() -> None:
    model = ultravox_8b("bf16")
    long = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_MAX_UTTERANCE_SECONDS": "600"})
    small = memory.activation_bytes(model, GPU, "bfloat16", 512)
    assert small < memory.activation_bytes(model, GPU, "bfloat16", 2048)
    assert small < memory.activation_bytes(model, long, "bfloat16", 512)


def test_activations_are_close_to_what_vllm_reported_for_such_a_model() -> None:
    # 1.26 GiB for Llama 3 8B with 8192 tokens per step and 256 replies, without an encoder
    # (vllm-project/vllm#10511).
    many = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_MAX_SEQUENCES": "256"})
    estimate = memory.activation_bytes(ultravox_8b("bf16"), many, "bfloat16", 8192)
    encoder = 44 * 79 * memory.MIB
    assert 1.26 * GIB <= estimate - encoder < 3 * GIB


def test_full_conversation_is_history_reply_utterance_and_instructions_within_the_context() -> None:
    assert memory.conversation_tokens(GPU) == 4096 + 160 + 376 + 512
    short = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_CONTEXT_TOKENS": "4500"})
    assert memory.conversation_tokens(short) == 4500
