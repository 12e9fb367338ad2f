"""Moonshine tiny-en: 16 kHz speech in, English text out.

Runs the model's two ONNX Runtime files directly: an encoder (waveform to 24 ms states) and a
decoder with a key-value cache. Decoding is greedy, so the same audio always gives the same words.

Model: Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands",
2024 (arXiv:2410.15608).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort  # type: ignore[import-untyped]

from appliance.engines.llm.loudness import Samples
from appliance.errors import MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE

START, END = 1, 2  # token ids of <s> and </s>
# Maximum rate, as in the authors' package (moonshine-voice, option max_tokens_per_second). English
# speech does not exceed this rate; text generated from noise does.
TOKENS_PER_SECOND = 6.5
MIN_SECONDS = 0.1  # the encoder's convolutions need about 60 ms


@dataclass(frozen=True, slots=True)
class Recognition:
    """The words recognized in a speech segment.

    text        stripped; empty if there are no words
    confidence  mean log-probability of the tokens: 0 means certain; -inf if there are no tokens
    complete    False if decoding was stopped, looped or reached the token limit
    """

    text: str
    confidence: float
    complete: bool = True


class Moonshine:
    """The speech recognizer. Not thread-safe."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the model. Raises MissingWeights."""
        files = [folder / name for name in ("encoder_model.ort", "decoder_model_merged.ort")]
        tokenizer = folder / "tokenizer.bin"
        for path in (*files, tokenizer):
            if not path.is_file():
                raise MissingWeights(path=path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        ort.disable_telemetry_events()
        self._encoder, self._decoder = (
            ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for path in files
        )
        self._pieces = parse_vocabulary(tokenizer.read_bytes())
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._empty_cache = {
            node.name: _ort_value(
                np.zeros(
                    (1, node.shape[1], 0 if ".decoder." in node.name else 1, node.shape[3]), "f4"
                )
            )
            for node in self._decoder.get_inputs()
            if node.name.startswith("past_key_values.")
        }

    def recognize(
        self, samples: Samples, should_stop: Callable[[], bool] = lambda: False
    ) -> Recognition:
        """Recognize a speech segment. `should_stop` is called before each token."""
        seconds = len(samples) / INPUT_SAMPLE_RATE
        if seconds < MIN_SECONDS:
            return Recognition("", -math.inf)
        # One entry per sample. The decoder also needs one entry per sample, although its other
        # inputs have one per encoder state.
        mask = _ort_value(np.ones((1, len(samples)), np.int64))
        [states] = self._encoder.run_with_ort_values(
            ["last_hidden_state"],
            {"input_values": _ort_value(samples[np.newaxis]), "attention_mask": mask},
        )
        feed = {
            **self._empty_cache,
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
            "use_cache_branch": _ort_value(np.array([False])),
        }
        tokens: list[int] = []
        score, token, complete = 0.0, START, False
        for _ in range(max_tokens(seconds)):
            if should_stop():
                break
            feed["input_ids"] = _ort_value(np.array([[token]], np.int64))
            logits, *present = self._decoder.run_with_ort_values(self._outputs, feed)
            row = logits.numpy()[0, -1]
            token = int(row.argmax())
            score -= math.log(float(np.exp(row - row[token]).sum()))
            if token == END:
                complete = True
                break
            tokens.append(token)
            if ends_in_loop(tokens):
                break
            self._update_cache(feed, present, first=len(tokens) == 1)
        count = len(tokens) + complete
        text = decode(tokens, self._pieces)
        return Recognition(text, score / count if count else -math.inf, complete)

    def _update_cache(
        self, feed: dict[str, ort.OrtValue], present: list[ort.OrtValue], first: bool
    ) -> None:
        """Pass the keys and values of this step to the next step."""
        for name, value in zip(self._outputs[1:], present, strict=True):
            # Entries for the encoder states are constant; later steps return them empty.
            if first or ".decoder." in name:
                feed[name.replace("present.", "past_key_values.")] = value
        if first:
            feed["use_cache_branch"] = _ort_value(np.array([True]))


def max_tokens(seconds: float) -> int:
    """Return the token limit for this duration, plus two for a short word and the end token."""
    return math.ceil(seconds * TOKENS_PER_SECOND) + 2


def ends_in_loop(tokens: Sequence[int], longest: int = 12) -> bool:
    """Return whether the text ends in a loop.

    A loop repeats one or two tokens four times, or three to `longest` tokens three times.
    """
    for period in range(1, longest + 1):
        times = 4 if period <= 2 else 3
        tail = tokens[-period * times :]
        if len(tail) == period * times and list(tail) == list(tail[:period]) * times:
            return True
    return False


def parse_vocabulary(data: bytes) -> list[bytes]:
    """Return the vocabulary of Moonshine's tokenizer file: the bytes of each token, by id.

    In the file, each token is preceded by its length. A length below 128 takes one byte. A longer
    length takes two: the lower seven bits with the top bit set, then the upper bits. Raises
    ValueError if the file is truncated.
    """
    pieces, offset = [], 0
    while offset < len(data):
        length, offset = data[offset], offset + 1
        if length >= 128:
            if offset == len(data):
                raise ValueError("the tokenizer file is truncated")
            length, offset = length - 128 + 128 * data[offset], offset + 1
        if offset + length > len(data):
            raise ValueError("the tokenizer file is truncated")
        pieces.append(data[offset : offset + length])
        offset += length
    return pieces


def decode(tokens: Sequence[int], pieces: Sequence[bytes]) -> str:
    """Decode tokens to text; skips special tokens (`<unk>`, `<<ST_1>>`) and unknown ids."""
    known = (pieces[token] for token in tokens if 0 <= token < len(pieces))
    words = (p for p in known if not (len(p) > 2 and p.startswith(b"<") and p.endswith(b">")))
    text = b"".join(words).decode("utf-8", "replace")
    return text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()


def _ort_value(array: npt.NDArray[np.generic]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
