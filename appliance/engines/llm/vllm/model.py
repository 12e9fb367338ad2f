"""vLLM's Ultravox model, fixed so that a reply does not depend on other clips in the batch.

vLLM encodes clips together, those of a conversation and those of several sessions, and pads each to
the longest. Attention is limited to a clip. However, padding affects the end of a clip in two ways:

- The second convolution halves the number of frames. If a clip has an odd number of frames, the
  last output includes the frame after it. This frame is zero if the clip is encoded alone.
  Otherwise, it is the first convolution's output for the padding.
- The projector stacks eight encoder frames into one token, so the last token of a clip includes
  frames past the end of the clip. These frames are zero if the clip is encoded alone. Otherwise,
  they are the encoder's output for the padding.

Hooks set these frames to zero. tests/golden/README.md shows how much this changes replies.

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
        PaddingMask().attach(self.audio_tower)


class PaddingMask:
    """Hooks for an audio tower that zero what it computes past the end of each chunk."""

    def __init__(self) -> None:
        self._mel_frames = torch.empty(0)

    def attach(self, tower: torch.nn.Module) -> None:
        """Register the hooks. The tower's inputs are mel spectrograms and their valid frames."""
        tower.register_forward_pre_hook(self._before)
        tower.conv1.register_forward_hook(self._after_first_convolution)
        tower.register_forward_hook(self._after)

    def _before(self, tower: Any, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._mel_frames = inputs[1]

    def _after_first_convolution(
        self, convolution: Any, inputs: Any, convolved: torch.Tensor
    ) -> torch.Tensor:
        return zero_padding(convolved, self._mel_frames, dim=2)

    def _after(self, tower: Any, inputs: Any, encoded: torch.Tensor) -> torch.Tensor:
        return zero_padding(encoded, (self._mel_frames + 1) // 2, dim=1)


def zero_padding(values: torch.Tensor, lengths: torch.Tensor, dim: int) -> torch.Tensor:
    """Set a batch [chunks, ...] to zero past the length of each chunk along `dim`, 1 or 2."""
    places = torch.arange(values.shape[dim], device=values.device)
    padding = places >= lengths.to(values.device)[:, None]
    return values.masked_fill(padding.unsqueeze(3 - dim), 0.0)
