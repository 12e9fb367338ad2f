"""vLLM's Ultravox model, fixed so that a reply does not depend on other clips in the batch.

vLLM encodes the clips of several sessions together, and pads each to the longest. Attention is
limited to a clip. However, the projector stacks eight encoder frames into one token, so the last
token of a clip includes frames past the end of the clip. These frames are zero if the clip is
encoded alone. Otherwise, they are the encoder's output for the padding. With vLLM 0.32, a short
clip therefore had different embeddings when it was encoded with a long clip.

`plugin.py` registers this class by its dotted name, so that only the processes that run the model
import it.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.models.ultravox import UltravoxModel


class PaddingSafeUltravox(UltravoxModel):  # type: ignore[misc]  # untyped base
    """Replaces vLLM's own model for the architecture UltravoxModel."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.audio_tower.register_forward_hook(zero_padding)


def zero_padding(
    tower: Any, inputs: tuple[torch.Tensor, torch.Tensor], encoded: torch.Tensor
) -> torch.Tensor:
    """Set the encoder's output to zero past the end of each chunk; a PyTorch forward hook.

    inputs   mel spectrograms [chunks, bins, frames] and the number of valid frames [chunks]
    encoded  [chunks, frames / 2, width]
    """
    _, mel_frames = inputs
    frames = ((mel_frames + 1) // 2).to(encoded.device)
    padding = torch.arange(encoded.shape[1], device=encoded.device) >= frames[:, None]
    return encoded.masked_fill(padding[:, :, None], 0.0)
