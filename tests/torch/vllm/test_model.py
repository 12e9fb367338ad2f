"""What is beyond the end of a clip; that answers are the same in any company is in test_engine."""

from __future__ import annotations

import torch

from appliance.engines.llm.vllm.processor import silence_beyond


def test_beyond_its_end_a_clip_is_silent() -> None:
    encoded = torch.ones(3, 10, 4)
    lengths = torch.tensor([20, 7, 1])
    made = silence_beyond(None, (torch.empty(3, 128, 20), lengths), encoded)
    assert made[:, :, 0].sum(dim=1).tolist() == [10, 4, 1]
    assert made[1, :4].all()
    assert not made[1, 4:].any()
