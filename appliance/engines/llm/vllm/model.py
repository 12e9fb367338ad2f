"""vLLM's Ultravox, with answers that do not depend on who else is talking.

vLLM encodes the clips of several callers together, each filled up to the longest. Attention stays
within a clip. But the projector stacks eight of the encoder's frames to one token, and a clip's
last token takes in frames beyond its end: alone these are zeros, in company what the encoder made
of the filling (seen with vLLM 0.32: other tokens for a short clip beside a long one).
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.models.ultravox import UltravoxModel


class Ultravox(UltravoxModel):  # type: ignore[misc]  # untyped base
    """The model that `plugin.py` registers in place of vLLM's own."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.audio_tower.register_forward_hook(silence_beyond)


def silence_beyond(
    tower: Any, given: tuple[torch.Tensor, torch.Tensor], encoded: torch.Tensor
) -> torch.Tensor:
    """What the encoder made of its input, as zeros beyond the end of each part.

    given    mel spectrograms [parts, bins, frames] and how many frames of each are audio [parts]
    encoded  [parts, frames / 2, width]
    """
    _, mel_frames = given
    frames = ((mel_frames + 1) // 2).to(encoded.device)
    beyond = torch.arange(encoded.shape[1], device=encoded.device) >= frames[:, None]
    return encoded.masked_fill(beyond[:, :, None], 0.0)
