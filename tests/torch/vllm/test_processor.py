"""The audio processor: chunks, padding, and token counts that agree with the prompt's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.engines.llm.vllm.audio import count_audio_tokens
from appliance.engines.llm.vllm.processor import UltravoxProcessor
from tests.torch.conftest import GOLDEN


@pytest.fixture(scope="module")
def processor() -> UltravoxProcessor:
    return UltravoxProcessor.from_pretrained(str(GOLDEN / "checkpoint"))


def make_clip(seconds: float) -> NDArray[np.float32]:
    samples: NDArray[np.float64] = np.sin(np.arange(int(seconds * 16_000)) * 0.1)
    return samples.astype(np.float32)


@pytest.mark.parametrize("seconds", [0.0, 1 / 16_000, 0.02, 0.16, 0.17, 1, 2.37, 29.99, 30])
def test_short_clip_is_one_chunk_with_as_many_tokens_as_the_prompt_expects(
    processor: UltravoxProcessor, seconds: float
) -> None:
    features = processor(audios=[make_clip(seconds)], sampling_rate=16_000)
    assert features["audio_num_chunks"].tolist() == [1]
    assert features["audio_token_len"].tolist() == [count_audio_tokens(len(make_clip(seconds)))]


@pytest.mark.parametrize("seconds", [30.01, 45, 60, 61])
def test_long_clip_is_cut_every_30_seconds(processor: UltravoxProcessor, seconds: float) -> None:
    features = processor(audios=[make_clip(seconds)], sampling_rate=16_000)
    chunks = -(-int(seconds * 100) // 3000)
    assert features["audio_num_chunks"].tolist() == [chunks]
    assert features["audio_token_len"].tolist()[:-1] == [188] * (chunks - 1)
    assert int(features["audio_token_len"].sum()) == count_audio_tokens(len(make_clip(seconds)))
    assert features["audio_values"].shape == (chunks, 128, 3000)


def test_clips_keep_their_order(processor: UltravoxProcessor) -> None:
    features = processor(audios=[make_clip(1), make_clip(45), make_clip(2)], sampling_rate=16_000)
    assert features["audio_num_chunks"].tolist() == [1, 2, 1]
    assert features["audio_lens"].tolist() == [100, 3000, 1500, 200]
    alone = processor(audios=[make_clip(1)], sampling_rate=16_000)["audio_values"][0]
    assert np.array_equal(features["audio_values"][0, :, :100].numpy(), alone.numpy())


def test_text_without_audio_gives_no_features(processor: UltravoxProcessor) -> None:
    assert not processor(text="hello").data


def test_other_sampling_rate_is_refused(processor: UltravoxProcessor) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        processor(audios=[make_clip(1)], sampling_rate=8_000)


def test_extreme_samples_give_finite_features(processor: UltravoxProcessor) -> None:
    for samples in (np.zeros(16_000), np.ones(16_000), -np.ones(16_000), np.ones(1)):
        features = processor(audios=[samples.astype(np.float32)], sampling_rate=16_000)
        assert np.isfinite(features["audio_values"].numpy()).all()
