"""Moonshine tiny-en: 16 kHz speech in, English text out.

Runs the model's two ONNX Runtime files directly: an encoder (waveform to 24 ms states) and a
decoder with a key-value cache. Decoding is greedy for long speech, and a beam search for short
speech. Single words, and speech that repeats a word, are heard at three speeds. The same audio
always gives the same words.

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
import soxr

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.beam_search import Beam, log_probabilities
from appliance.engines.llm.small.vote import Candidate, repeats_word, vote
from appliance.engines.onnx_session import PROVIDERS, speech_options
from appliance.errors import MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE

START, END = 1, 2  # token ids of <s> and </s>
# Maximum rate, as in the authors' package (moonshine-voice, option max_tokens_per_second). English
# speech does not exceed this rate; text generated from noise does.
TOKENS_PER_SECOND = 6.5
MIN_SECONDS = 0.1  # the encoder's convolutions need about 60 ms

# Speech of up to this length, with the silence around it, has too little context for greedy
# decoding. Word error rates: docs/quality.md.
BEAM_SECONDS = 4.0
BEAM_WIDTH = 2
# A text stays in that search while the most probable one is at most e^1 times as probable. Most
# tokens have no such alternative: the decoder runs 123 times instead of 210 for 12 recordings of 2
# to 4 s (greedy: 111), and the texts of 120 recordings are the same.
BEAM_MARGIN = 1.0
# Single words and letters, with the silence around them. They are also recognized 10 % faster and
# slower, each with more texts. Longer speech only if it repeats a word.
VOTE_SECONDS = 2.0
VOTE_WIDTH = 3
SPEEDS = (1.0, 0.9, 1.1)

Cache = dict[str, ort.OrtValue]


@dataclass(frozen=True, slots=True)
class Recognition:
    """The words recognized in a speech segment.

    text        stripped; empty if there are no words
    confidence  mean log-probability of the tokens: 0 means certain; -inf if there are no tokens
    complete    False if decoding was stopped or reached the token limit
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
        options = speech_options(threads)
        self._encoder, self._decoder = (
            ort.InferenceSession(path, options, providers=list(PROVIDERS)) for path in files
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
        """Recognize a speech segment. `should_stop` is called before each token.

        A short segment is recognized at three speeds, and the texts vote (`vote`). So is a longer
        one that repeats a word: the model often miscounts repetitions, as in "five five five five",
        but differently at each speed (docs/quality.md).
        """
        seconds = len(samples) / INPUT_SAMPLE_RATE
        if seconds < MIN_SECONDS:
            return Recognition("", -math.inf)
        if seconds > VOTE_SECONDS:
            text, best = self._best(samples, should_stop)
            if best.ended and repeats_word(text) and not should_stop():
                others = [
                    self._best(change_speed(samples, speed), should_stop) for speed in SPEEDS[1:]
                ]
                ended = [other for other in others if other[1].ended]
                text, best = vote([[each] for each in [(text, best), *ended]])
            return Recognition(text, best.confidence, best.ended)
        ballots = [self.ballot(change_speed(samples, speed), should_stop) for speed in SPEEDS]
        text, hypothesis = vote(ballots)
        return Recognition(text, hypothesis.confidence, hypothesis.ended)

    def ballot(self, samples: Samples, should_stop: Callable[[], bool]) -> list[Candidate]:
        """Return the most probable texts of a short segment; none if it is below MIN_SECONDS."""
        if len(samples) < MIN_SECONDS * INPUT_SAMPLE_RATE:
            return []
        beam = self._search(samples, Beam(VOTE_WIDTH, END, VOTE_WIDTH), should_stop)
        return [(decode(each.tokens, self._pieces), each) for each in beam.ended or [beam.best]]

    def _best(self, samples: Samples, should_stop: Callable[[], bool]) -> Candidate:
        """Return the most probable text of a longer segment, without the loop of an open end."""
        width = BEAM_WIDTH if len(samples) <= BEAM_SECONDS * INPUT_SAMPLE_RATE else 1
        best = self._search(samples, Beam(width, END, margin=BEAM_MARGIN), should_stop).best
        tokens = best.tokens if best.ended else remove_loop(best.tokens)
        return decode(tokens, self._pieces), best

    def _search(self, samples: Samples, beam: Beam, should_stop: Callable[[], bool]) -> Beam:
        """Run a beam search to its end."""
        # One entry per sample. The decoder also needs one entry per sample, although its other
        # inputs have one per encoder state.
        mask = _ort_value(np.ones((1, len(samples)), np.int64))
        [states] = self._encoder.run_with_ort_values(
            ["last_hidden_state"],
            {"input_values": _ort_value(samples[np.newaxis]), "attention_mask": mask},
        )
        inputs = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        caches: list[Cache | None] = [None]
        for _ in range(max_tokens(len(samples) / INPUT_SAMPLE_RATE)):
            if should_stop():
                break
            rows = []
            for number, each in enumerate(beam.open):
                row, caches[number] = self._step(inputs, each.tokens, caches[number])
                rows.append(row)
            caches = [caches[parent] for parent in beam.advance(rows)]
            if beam.is_done:
                break
        return beam

    def _step(
        self, inputs: Cache, tokens: Sequence[int], cache: Cache | None
    ) -> tuple[Samples, Cache]:
        """Return the scores of the next token after `tokens`, and the new key-value cache."""
        feed = {
            **inputs,
            **(self._empty_cache if cache is None else cache),
            "use_cache_branch": _ort_value(np.array([cache is not None])),
            "input_ids": _ort_value(np.array([[tokens[-1] if tokens else START]], np.int64)),
        }
        logits, *present = self._decoder.run_with_ort_values(self._outputs, feed)
        new = dict(cache or {})
        for name, value in zip(self._outputs[1:], present, strict=True):
            # Entries for the encoder states are constant; later steps return them empty.
            if cache is None or ".decoder." in name:
                new[name.replace("present.", "past_key_values.")] = value
        return log_probabilities(logits.numpy()[0, -1]), new


def change_speed(samples: Samples, speed: float) -> Samples:
    """Return samples that are spoken faster (above 1) or slower, with the pitch changed too."""
    if speed == 1.0:
        return samples
    changed: Samples = soxr.resample(samples, INPUT_SAMPLE_RATE * speed, INPUT_SAMPLE_RATE)
    return changed


def max_tokens(seconds: float) -> int:
    """Return the token limit for this duration, plus two for a short word and the end token."""
    return math.ceil(seconds * TOKENS_PER_SECOND) + 2


def remove_loop(tokens: Sequence[int], longest: int = 12) -> Sequence[int]:
    """Return a text that reached the token limit with only one occurrence of its last loop.

    A loop repeats one or two tokens four times, or three to `longest` tokens three times. A person
    may also repeat a word ("seven, seven, seven, seven"), but then the model ends the text.
    """
    for period in range(1, longest + 1):
        last, end = list(tokens[-period:]), len(tokens)
        while end >= period and list(tokens[end - period : end]) == last:
            end -= period
        if (len(tokens) - end) // period >= (4 if period <= 2 else 3):
            return tokens[: end + period]
    return tokens


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
