"""Moonshine tiny-en: 16 kHz speech in, English text out.

Runs the model's two ONNX Runtime files directly: an encoder (waveform to 24 ms states) and a
decoder with a key-value cache. Decoding is greedy for long speech, and a beam search for short
speech. The same audio always gives the same words.

Model: Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands",
2024 (arXiv:2410.15608).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort  # type: ignore[import-untyped]
import soxr

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.spoken_key import spoken_key
from appliance.engines.onnx_session import PROVIDERS, session_options
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
# slower, each with more texts.
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
        options = session_options(threads)
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

        A short segment is recognized at three speeds, and the texts vote (`vote`).
        """
        seconds = len(samples) / INPUT_SAMPLE_RATE
        if seconds < MIN_SECONDS:
            return Recognition("", -math.inf)
        if seconds > VOTE_SECONDS:
            width = BEAM_WIDTH if seconds <= BEAM_SECONDS else 1
            best = self._search(samples, Beam(width, margin=BEAM_MARGIN), should_stop).best
            tokens = best.tokens if best.ended else remove_loop(best.tokens)
            return Recognition(decode(tokens, self._pieces), best.confidence, best.ended)
        ballots = [self.ballot(change_speed(samples, speed), should_stop) for speed in SPEEDS]
        text, hypothesis = vote(ballots)
        return Recognition(text, hypothesis.confidence, hypothesis.ended)

    def ballot(self, samples: Samples, should_stop: Callable[[], bool]) -> list[Candidate]:
        """Return the most probable texts of a short segment; none if it is below MIN_SECONDS."""
        if len(samples) < MIN_SECONDS * INPUT_SAMPLE_RATE:
            return []
        beam = self._search(samples, Beam(VOTE_WIDTH, VOTE_WIDTH), should_stop)
        return [(decode(each.tokens, self._pieces), each) for each in beam.ended or [beam.best]]

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


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A beginning of the text.

    score  sum of the log-probabilities of the tokens, and of the end if the text has `ended`
    """

    tokens: tuple[int, ...] = ()
    score: float = 0.0
    ended: bool = False

    @property
    def confidence(self) -> float:
        """Mean log-probability of the tokens; -inf if there are none."""
        count = len(self.tokens) + self.ended
        return self.score / count if count else -math.inf


Candidate = tuple[str, Hypothesis]


class Beam:
    """Beam search: keeps the `width` most probable texts. A width of 1 is greedy decoding.

    The search is done when it has `wanted` texts, and one of them is more probable per token than
    those still open. `margin` is the largest difference of the log-probabilities of the texts that
    are kept.
    """

    def __init__(
        self, width: int, wanted: int = 1, end: int = END, margin: float = math.inf
    ) -> None:
        self._end = end  # token id
        self._width = width
        self._margin = margin
        self._wanted = wanted
        self.open = [Hypothesis()]
        self.ended: list[Hypothesis] = []

    def advance(self, rows: Sequence[Samples]) -> list[int]:
        """Extend each open text by one token. Returns the numbers of the texts that were extended.

        rows  log-probabilities of the next token, for each open text
        """
        extended: list[tuple[float, int, int]] = []
        for number, row in enumerate(rows):
            # One more than the width, because one of them may be the end.
            likely = most_probable(row, self._width + 1)
            score = self.open[number].score
            extended += [(score + float(row[token]), number, token) for token in likely]
        texts: list[Hypothesis] = []
        parents: list[int] = []
        for score, number, token in sorted(extended, reverse=True):
            if texts and score < texts[0].score - self._margin:
                break
            tokens = self.open[number].tokens
            if token == self._end:
                self.ended.append(Hypothesis(tokens, score, ended=True))
            else:
                texts.append(Hypothesis((*tokens, token), score))
                parents.append(number)
            if len(texts) == self._width:
                break
        self.open = texts
        return parents

    @property
    def is_done(self) -> bool:
        """Whether the search can stop."""
        if len(self.ended) < self._wanted:
            return False
        best = max(each.confidence for each in self.ended)
        return all(each.confidence <= best for each in self.open)

    @property
    def best(self) -> Hypothesis:
        """The most probable text per token; one that has ended, if any."""
        return max(self.ended or self.open, key=lambda each: each.confidence)


def most_probable(row: Samples, count: int) -> list[int]:
    """Return the numbers of the `count` highest scores, highest first.

    Sorting the whole vocabulary takes a third of the time of a decoder run.
    """
    rest, numbers = row.copy(), []
    for _ in range(count):
        numbers.append(int(rest.argmax()))
        rest[numbers[-1]] = -math.inf
    return numbers


def vote(ballots: Sequence[Sequence[Candidate]]) -> tuple[str, Hypothesis]:
    """Return the text with the highest sum of probabilities over several recognitions.

    Texts that differ only in punctuation, case or the form of numbers are the same: the model
    spreads its probability over "12.", "Twelve" and "Twelve.". The most probable form is returned.
    """
    sums: dict[str, float] = defaultdict(float)
    forms: dict[str, tuple[str, Hypothesis]] = {}
    for ballot in ballots:
        for text, hypothesis in ballot:
            key = spoken_key(text)
            sums[key] += math.exp(hypothesis.score)
            if key not in forms or hypothesis.score > forms[key][1].score:
                forms[key] = text, hypothesis
    return forms[max(sums, key=lambda key: sums[key])]


def leading_probability(ballot: Sequence[Candidate]) -> float:
    """Return the probability of the most probable text of a ballot, in all its forms."""
    sums: dict[str, float] = defaultdict(float)
    for text, hypothesis in ballot:
        sums[spoken_key(text)] += math.exp(hypothesis.score)
    return max(sums.values())


def text_probability(text: str, ballots: Sequence[Sequence[Candidate]]) -> float:
    """Return the probability of a text in all its forms, as the mean of several recognitions."""
    key = spoken_key(text)
    same = (
        each for ballot in ballots for candidate, each in ballot if spoken_key(candidate) == key
    )
    return sum(math.exp(each.score) for each in same) / len(ballots)


def change_speed(samples: Samples, speed: float) -> Samples:
    """Return samples that are spoken faster (above 1) or slower, with the pitch changed too."""
    if speed == 1.0:
        return samples
    changed: Samples = soxr.resample(samples, INPUT_SAMPLE_RATE * speed, INPUT_SAMPLE_RATE)
    return changed


def log_probabilities(logits: Samples) -> Samples:
    """Return the logarithms of the softmax of `logits`."""
    shifted = logits - logits.max()
    normalized: Samples = shifted - np.log(np.exp(shifted).sum())
    return normalized


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
