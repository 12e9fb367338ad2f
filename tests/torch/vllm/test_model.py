"""The hooks of our model. That replies do not depend on the batch is tested in test_engine.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from appliance.engines.llm.vllm.model import PaddingMask, zero_padding


class Tower(nn.Module):  # type: ignore[misc]  # untyped base
    """The convolutions of Whisper's encoder; the rest of it does not mix frames of two clips."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(4, 6, 3, padding=1)
        self.conv2 = nn.Conv1d(6, 6, 3, stride=2, padding=1)

    def forward(self, mel: torch.Tensor, mel_frames: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.gelu(self.conv1(mel))
        return nn.functional.gelu(self.conv2(hidden)).permute(0, 2, 1) + 1


@pytest.mark.parametrize("frames", [1, 2, 7, 8, 19, 20])
def test_padded_clip_is_encoded_as_if_it_were_alone(frames: int) -> None:
    tower, mel = Tower(), torch.randn(1, 4, 20)
    alone = tower(mel[:, :, :frames], torch.tensor([frames]))
    PaddingMask().attach(tower)
    padded = torch.nn.functional.pad(mel[:, :, :frames], (0, 20 - frames))
    encoded = tower(torch.cat([padded, mel]), torch.tensor([frames, 20]))
    assert torch.allclose(encoded[0, : alone.shape[1]], alone[0], atol=1e-6)
    assert not encoded[0, alone.shape[1] :].any()
    assert encoded[1].all()


def test_values_past_the_end_are_zero() -> None:
    values, lengths = torch.ones(3, 10, 4), torch.tensor([10, 4, 1])
    masked = zero_padding(values, lengths, dim=1)
    assert masked[:, :, 0].sum(dim=1).tolist() == [10, 4, 1]
    assert masked[1, :4].all()
    assert not masked[1, 4:].any()
    assert torch.equal(zero_padding(values.mT, lengths, dim=2), masked.mT)
