"""Audio to spectrograms and token counts, as the model's authors do it."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.engines.llm.vllm.processor import UltravoxProcessor
from appliance.engines.llm.vllm.prompt import count_audio_tokens
from tests.torch.conftest import GOLDEN


@pytest.fixture(scope="module")
def processor() -> UltravoxProcessor:
    return UltravoxProcessor.from_pretrained(str(GOLDEN / "checkpoint"))


def clip(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.sin(np.arange(int(seconds * 16_000)) * 0.1).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.0, 1 / 16_000, 0.02, 0.16, 0.17, 1, 2.37, 29.99, 30])
def test_a_clip_is_one_part_of_as_many_tokens_as_the_prompt_has_room_for(
    processor: UltravoxProcessor, seconds: float
) -> None:
    made = processor(audios=[clip(seconds)], sampling_rate=16_000)
    assert made["audio_num_chunks"].tolist() == [1]
    assert made["audio_token_len"].tolist() == [count_audio_tokens(len(clip(seconds)))]


@pytest.mark.parametrize("seconds", [30.01, 45, 60, 61])
def test_a_long_clip_is_cut_every_30_seconds(processor: UltravoxProcessor, seconds: float) -> None:
    made = processor(audios=[clip(seconds)], sampling_rate=16_000)
    parts = -(-int(seconds * 100) // 3000)
    assert made["audio_num_chunks"].tolist() == [parts]
    assert made["audio_token_len"].tolist()[:-1] == [188] * (parts - 1)
    assert int(made["audio_token_len"].sum()) == count_audio_tokens(len(clip(seconds)))
    assert made["audio_values"].shape == (parts, 128, 3000)


def test_several_clips_keep_their_order(processor: UltravoxProcessor) -> None:
    made = processor(audios=[clip(1), clip(45), clip(2)], sampling_rate=16_000)
    assert made["audio_num_chunks"].tolist() == [1, 2, 1]
    assert made["audio_lens"].tolist() == [100, 3000, 1500, 200]
    alone = processor(audios=[clip(1)], sampling_rate=16_000)["audio_values"][0]
    assert np.array_equal(made["audio_values"][0, :, :100].numpy(), alone.numpy())


@pytest.mark.parametrize(("frames", "width"), [(100, 100), (101, 102), (2999, 3000)])
def test_an_odd_number_of_frames_is_filled_up(
    processor: UltravoxProcessor, frames: int, width: int
) -> None:
    made = processor(audios=[clip(frames / 100)], sampling_rate=16_000)
    assert made["audio_lens"].tolist() == [frames]
    assert made["audio_values"].shape[2] == width
    assert not made["audio_values"][:, :, frames:].any()


def test_without_audio_there_is_nothing(processor: UltravoxProcessor) -> None:
    assert not processor(text="hello").data


def test_another_rate_is_refused(processor: UltravoxProcessor) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        processor(audios=[clip(1)], sampling_rate=8_000)


def test_any_samples_become_finite_numbers(processor: UltravoxProcessor) -> None:
    for samples in (np.zeros(16_000), np.ones(16_000), -np.ones(16_000), np.ones(1)):
        made = processor(audios=[samples.astype(np.float32)], sampling_rate=16_000)
        assert np.isfinite(made["audio_values"].numpy()).all()
