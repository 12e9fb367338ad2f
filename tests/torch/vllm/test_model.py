"""The hook of our model. That replies do not depend on the batch is tested in test_engine.py."""

from __future__ import annotations

import torch

from appliance.engines.llm.vllm.model import zero_padding


def test_encoder_output_past_the_end_of_a_clip_is_zero() -> None:
    encoded = torch.ones(3, 10, 4)
    lengths = torch.tensor([20, 7, 1])
    masked = zero_padding(None, (torch.empty(3, 128, 20), lengths), encoded)
    assert masked[:, :, 0].sum(dim=1).tolist() == [10, 4, 1]
    assert masked[1, :4].all()
    assert not masked[1, 4:].any()
