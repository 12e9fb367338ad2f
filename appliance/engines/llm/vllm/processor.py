"""The audio processor of Ultravox, which replaces the remote code published with the model.

vLLM looks up a processor by the class name in the model's `processor_config.json`, which is
`UltravoxProcessor`. `plugin.py` registers this class under that name. It needs only Whisper's mel
settings and the tokenizer, both from the sealed folder.

The sizes are those of Ultravox v0.5 (fixie-ai/ultravox, ultravox_processing.py). There are 100 mel
frames per second. The encoder halves their number and the projector stacks 8, so one token covers
16 frames (160 ms). Audio is split every 3000 frames (30 s) into chunks of 188 tokens; the last
chunk may be shorter.
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


class UltravoxProcessor(ProcessorMixin):  # type: ignore[misc]  # untyped base
    """Computes the mel spectrograms and the token counts of audio clips.

    Returns, for all chunks of all clips in order:

    audio_values      float32 [chunks, mel bins, frames]
    audio_lens        [chunks] valid mel frames
    audio_token_len   [chunks] prompt tokens

    and for each clip:

    audio_num_chunks  [clips]
    """

    def __init__(
        self, audio_processor: WhisperFeatureExtractor, tokenizer: Any, **shape: int
    ) -> None:
        # ProcessorMixin.__init__ is not called, because it checks the classes of its arguments by
        # name.
        self.audio_processor = audio_processor
        self.tokenizer = tokenizer
        self.frames_per_token = shape["encoder_ds_factor"] * shape["stack_factor"]
        self.frames_per_chunk = shape["audio_context_size"]
        self.chat_template = None

    @classmethod
    def from_pretrained(cls, folder: str, *_: Any, **__: Any) -> UltravoxProcessor:
        """Load from a sealed model folder. Ignores vLLM's other arguments, for remote files."""
        from transformers import PreTrainedTokenizerFast

        config = json.loads((Path(folder) / "processor_config.json").read_text(encoding="utf-8"))
        shape = {
            name: int(config[name])
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
        chunks: list[npt.NDArray[np.float32]] = []
        lengths: list[int] = []
        counts: list[int] = []
        for clip in audios or ():
            mel, frames = self._mel(np.asarray(clip, np.float32), sampling_rate)
            starts = range(0, frames, self.frames_per_chunk)
            counts.append(len(starts))
            for start in starts:
                chunks.append(mel[:, start : start + self.frames_per_chunk])
                lengths.append(min(frames - start, self.frames_per_chunk))
        if not chunks:
            return BatchFeature({})
        width = max(chunk.shape[1] for chunk in chunks)
        padded = [np.pad(chunk, ((0, 0), (0, width - chunk.shape[1]))) for chunk in chunks]
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
        """Return the mel spectrogram of a clip and the number of its valid frames."""
        hop = self.audio_processor.hop_length
        features = self.audio_processor(
            np.pad(clip, (0, max(0, 2 * hop - len(clip)))),
            sampling_rate=rate,
            padding="longest",
            pad_to_multiple_of=hop,
            truncation=False,
            return_attention_mask=True,
            return_tensors="np",
        )
        return features["input_features"][0], int(features["attention_mask"][0].sum())
