"""Audio to what Ultravox's encoder takes: our own processor, in place of the model's remote code.

vLLM asks for a processor by the class name that `processor_config.json` of the model folder gives,
`UltravoxProcessor`; `plugin.py` puts this one where vLLM looks. It needs nothing but Whisper's mel
settings and the tokenizer, both from the sealed folder.

The arithmetic is Ultravox v0.5's (fixie-ai/ultravox, ultravox_processing.py): 100 mel frames a
second; the encoder halves them and the projector stacks 8, so that one token is 16 frames, 160 ms.
Audio is cut every 3000 frames (30 s) into parts of 188 tokens, and the last part has what is left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import BatchFeature, ProcessorMixin, WhisperFeatureExtractor
from vllm.model_executor.models.ultravox import UltravoxModel

PLACEHOLDER = "<|audio|>"


class UltravoxProcessor(ProcessorMixin):  # type: ignore[misc]  # untyped base
    """Mel spectrograms and token counts of audio clips.

    Returns, over all parts of all clips in order: `audio_values` float32 [parts, mel bins, frames],
    `audio_lens` [parts] valid mel frames, `audio_token_len` [parts]; and, by clip, how many parts
    it has, `audio_num_chunks` [clips].
    """

    def __init__(
        self, audio_processor: WhisperFeatureExtractor, tokenizer: Any, **shape: int
    ) -> None:
        # ProcessorMixin's own __init__ checks its arguments against classes it finds by name.
        self.audio_processor = audio_processor
        self.tokenizer = tokenizer
        self.frames_per_token = shape["encoder_ds_factor"] * shape["stack_factor"]
        self.frames_per_part = shape["audio_context_size"]
        self.chat_template = None

    @classmethod
    def from_pretrained(cls, folder: str, *_: Any, **__: Any) -> UltravoxProcessor:
        """Reads a sealed model folder; whatever else vLLM passes is about remote files."""
        from transformers import PreTrainedTokenizerFast

        read = json.loads((Path(folder) / "processor_config.json").read_text(encoding="utf-8"))
        shape = {
            name: int(read[name])
            for name in ("encoder_ds_factor", "stack_factor", "audio_context_size")
        }
        extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        return cls(extractor, tokenizer, **shape)

    def __call__(
        self,
        text: str | None = None,
        audios: Sequence[npt.NDArray[np.float32]] | None = None,
        sampling_rate: int | None = None,
        **_: Any,
    ) -> BatchFeature:
        parts: list[npt.NDArray[np.float32]] = []
        lengths: list[int] = []
        counts: list[int] = []
        for clip in audios or ():
            mel, frames = self._mel(np.asarray(clip, np.float32), sampling_rate)
            starts = range(0, frames, self.frames_per_part)
            counts.append(len(starts))
            for start in starts:
                parts.append(mel[:, start : start + self.frames_per_part])
                lengths.append(min(frames - start, self.frames_per_part))
        if not parts:
            return BatchFeature({})
        # vLLM fills clips that it encodes together up to the longest. The encoder halves the frames
        # by a convolution over three, so the last of an odd number sees one of those that fill up:
        # it is there always, or answers would depend on who else is talking.
        widest = max(part.shape[1] + part.shape[1] % 2 for part in parts)
        padded = [np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts]
        tokens = [max(1, -(-frames // self.frames_per_token)) for frames in lengths]
        return BatchFeature(
            {
                "audio_values": torch.from_numpy(np.stack(padded)),
                "audio_lens": torch.tensor(lengths),
                "audio_token_len": torch.tensor(tokens),
                "audio_num_chunks": torch.tensor(counts),
            }
        )

    def _mel(
        self, clip: npt.NDArray[np.float32], rate: int | None
    ) -> tuple[npt.NDArray[np.float32], int]:
        hop = self.audio_processor.hop_length
        least = np.pad(clip, (0, max(0, 2 * hop - len(clip))))
        made = self.audio_processor(
            least,
            sampling_rate=rate,
            padding="longest",
            pad_to_multiple_of=hop,
            truncation=False,
            return_attention_mask=True,
            return_tensors="np",
        )
        return made["input_features"][0], int(made["attention_mask"][0].sum())


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
