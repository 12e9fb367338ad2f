"""The items of the sum."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.gpu import memory
from appliance.gpu.cards import GIB, Card, asked_for
from appliance.gpu.reference import ultravox_8b
from appliance.settings import Settings, load

GPU = load({"VOICE_PROFILE": "gpu"})


@pytest.fixture
def l4() -> Card:
    found = asked_for("L4")
    assert found
    return found.as_card()


def sizes(card: Card, settings: Settings = GPU, dtype: str = "bfloat16") -> dict[str, int]:
    items = memory.fixed(card, ultravox_8b("bf16"), settings, dtype, 512)
    return {item.what: item.size_bytes for item in items}


def test_the_weights_are_all_of_the_folder_s(l4: Card) -> None:
    items = sizes(l4)
    total = items["language model"] + items["audio encoder and projector"]
    assert total == ultravox_8b("bf16").weights_bytes.total


def test_in_float32_the_weights_take_twice_as_much(l4: Card) -> None:
    assert sizes(l4, dtype="float32")["language model"] == 2 * sizes(l4)["language model"]


def test_kokoro_is_counted_where_it_shares_the_card(l4: Card) -> None:
    assert sizes(l4)["Kokoro"] == memory.KOKORO_BYTES
    elsewhere = load({"VOICE_PROFILE": "gpu", "VOICE_TTS_DEVICE": "cpu"})
    assert "Kokoro" not in sizes(l4, elsewhere)


def test_it_makes_no_difference_whether_kokoro_is_loaded_already(l4: Card) -> None:
    loaded = dataclasses.replace(l4, free_bytes=l4.memory_bytes - memory.KOKORO_BYTES)
    assert sizes(loaded) == sizes(l4)


def test_what_another_program_holds_is_left_to_it(l4: Card) -> None:
    busy = dataclasses.replace(l4, free_bytes=l4.memory_bytes - 4 * GIB)
    assert sizes(busy)["other programs"] == 4 * GIB


def test_without_kokoro_on_the_card_less_is_taken_for_somebody_else_s(l4: Card) -> None:
    elsewhere = load({"VOICE_PROFILE": "gpu", "VOICE_TTS_DEVICE": "cpu"})
    busy = dataclasses.replace(l4, free_bytes=l4.memory_bytes - GIB)
    assert memory.others(busy, elsewhere) == GIB
    assert memory.others(busy, GPU) == 0


def test_activations_grow_with_the_step_and_with_the_longest_utterance() -> None:
    model = ultravox_8b("bf16")
    long = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_MAX_UTTERANCE_SECONDS": "600"})
    small = memory.activations(model, GPU, "bfloat16", 512)
    assert small < memory.activations(model, GPU, "bfloat16", 2048)
    assert small < memory.activations(model, long, "bfloat16", 512)


def test_activations_are_of_the_size_that_vllm_has_reported_for_such_a_model() -> None:
    # 1.26 GiB for Llama 3 8B at 8192 tokens a step and 256 replies (vllm-project/vllm#10511),
    # without an encoder.
    many = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_MAX_SEQUENCES": "256"})
    ours = memory.activations(ultravox_8b("bf16"), many, "bfloat16", 8192)
    encoder = 44 * 79 * memory.MIB
    assert 1.26 * GIB <= ours - encoder < 3 * GIB


def test_a_full_call_is_history_reply_utterance_and_instructions_within_the_context() -> None:
    assert memory.conversation_tokens(GPU) == 4096 + 160 + 376 + 512
    short = load({"VOICE_PROFILE": "gpu", "VOICE_LLM_CONTEXT_TOKENS": "4500"})
    assert memory.conversation_tokens(short) == 4500
