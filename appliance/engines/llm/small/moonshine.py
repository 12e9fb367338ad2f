"""Moonshine tiny-en: 16 kHz speech in, English text out.

Runs the two ONNX Runtime files of the model directly: an encoder (waveform to 24 ms states) and a
decoder with key/value cache. Greedy decoding, so the same sound gives the same words.

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

from appliance.errors import MissingWeights

Samples = npt.NDArray[np.float32]

RATE = 16_000  # Hz
START, END = 1, 2  # <s> and </s> of the vocabulary
# The authors stop at this rate, since English speech does not exceed it and noise does
# (moonshine-voice, option max_tokens_per_second).
TOKENS_PER_SECOND = 6.5
SHORTEST_SECONDS = 0.1  # the encoder's convolutions need some 60 ms


@dataclass(frozen=True, slots=True)
class Heard:
    """What was recognised in a piece of speech.

    text        the words, stripped; empty when there were none
    confidence  mean log probability of the tokens chosen, 0 is certain; -inf without tokens
    complete    False when decoding was stopped from outside or ran into its limit
    """

    text: str
    confidence: float
    complete: bool = True


class Moonshine:
    """The recognizer. Not thread safe: call it from one thread at a time."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Loads the model. Raises MissingWeights."""
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
        self._pieces = read_vocabulary(tokenizer.read_bytes())
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._empty = {
            put.name: ort.OrtValue.ortvalue_from_numpy(
                np.zeros((1, put.shape[1], 0 if ".decoder." in put.name else 1, put.shape[3]), "f4")
            )
            for put in self._decoder.get_inputs()
            if put.name.startswith("past_key_values.")
        }

    def hear(self, samples: Samples, stop: Callable[[], bool] = lambda: False) -> Heard:
        """Recognises one piece of speech; `stop` is asked once per token."""
        seconds = len(samples) / RATE
        if seconds < SHORTEST_SECONDS:
            return Heard("", -math.inf)
        # One entry per sample for the encoder and, though its inputs say otherwise, the decoder.
        mask = _value(np.ones((1, len(samples)), np.int64))
        [states] = self._encoder.run_with_ort_values(
            ["last_hidden_state"],
            {"input_values": _value(samples[np.newaxis]), "attention_mask": mask},
        )
        feed = {
            **self._empty,
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
            "use_cache_branch": _value(np.array([False])),
        }
        tokens: list[int] = []
        score, token, complete = 0.0, START, False
        for _ in range(token_limit(seconds)):
            if stop():
                break
            feed["input_ids"] = _value(np.array([[token]], np.int64))
            logits, *present = self._decoder.run_with_ort_values(self._outputs, feed)
            row = logits.numpy()[0, -1]
            token = int(row.argmax())
            score -= math.log(float(np.exp(row - row[token]).sum()))
            if token == END:
                complete = True
                break
            tokens.append(token)
            if repeats(tokens):
                break
            self._remember(feed, present, first=len(tokens) == 1)
        chosen = len(tokens) + complete
        return Heard(
            decode(tokens, self._pieces), score / chosen if chosen else -math.inf, complete
        )

    def _remember(
        self, feed: dict[str, ort.OrtValue], present: list[ort.OrtValue], first: bool
    ) -> None:
        """Feeds the keys and values of this step to the next one."""
        for name, value in zip(self._outputs[1:], present, strict=True):
            # The states of the encoder do not change; the cached branch returns nothing for them.
            if first or ".decoder." in name:
                feed[name.replace("present.", "past_key_values.")] = value
        if first:
            feed["use_cache_branch"] = _value(np.array([True]))


def token_limit(seconds: float) -> int:
    """The most tokens that so much speech may become; two more for a short word and the end."""
    return math.ceil(seconds * TOKENS_PER_SECOND) + 2


def repeats(tokens: Sequence[int], longest: int = 12) -> bool:
    """Whether the tokens end in a loop: four times the same one or two, or thrice the same more."""
    for period in range(1, longest + 1):
        times = 4 if period <= 2 else 3
        tail = tokens[-period * times :]
        if len(tail) == period * times and list(tail) == list(tail[:period]) * times:
            return True
    return False


def read_vocabulary(data: bytes) -> list[bytes]:
    """The pieces of Moonshine's tokenizer file, by token id.

    The file is a row of pieces, each with its length in bytes before it: one byte below 128, else
    two, the lower seven bits (with the top bit set) first. Raises ValueError when it is cut off.
    """
    pieces, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            if at == len(data):
                raise ValueError("the tokenizer file is cut off")
            length, at = length - 128 + 128 * data[at], at + 1
        if at + length > len(data):
            raise ValueError("the tokenizer file is cut off")
        pieces.append(data[at : at + length])
        at += length
    return pieces


def decode(tokens: Sequence[int], pieces: Sequence[bytes]) -> str:
    """The text of the tokens; special ones (`<unk>`, `<<ST_1>>`) and unknown ids say nothing."""
    known = (pieces[token] for token in tokens if 0 <= token < len(pieces))
    spoken = (p for p in known if not (len(p) > 2 and p.startswith(b"<") and p.endswith(b">")))
    text = b"".join(spoken).decode("utf-8", "replace")
    return text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()


def _value(array: npt.NDArray[np.generic]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
