"""vLLM's Ultravox model, fixed so that a reply does not depend on which clips share its batch.

vLLM encodes the clips of several sessions together, each padded to the longest. Attention stays
within a clip. But the projector stacks eight encoder frames to one token, so the last token of a
clip includes frames past its end: these are zeros when the clip is alone, and the encoder's output
for the padding otherwise (seen with vLLM 0.32: a short clip got other tokens beside a long one).

`plugin.py` registers this class by its dotted name, so that vLLM imports it, and the model code
behind it, only in the processes that run the model.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.models.ultravox import UltravoxModel


class PaddingSafeUltravox(UltravoxModel):  # type: ignore[misc]  # untyped base
    """Registered in place of vLLM's own model of the architecture UltravoxModel."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.audio_tower.register_forward_hook(zero_padding)


def zero_padding(
    tower: Any, inputs: tuple[torch.Tensor, torch.Tensor], encoded: torch.Tensor
) -> torch.Tensor:
    """Forward hook: set the encoder's output to zero past the end of each chunk.

    inputs   mel spectrograms [chunks, bins, frames] and the valid frames of each [chunks]
    encoded  [chunks, frames / 2, width]
    """
    _, mel_frames = inputs
    frames = ((mel_frames + 1) // 2).to(encoded.device)
    padding = torch.arange(encoded.shape[1], device=encoded.device) >= frames[:, None]
    return encoded.masked_fill(padding[:, :, None], 0.0)
