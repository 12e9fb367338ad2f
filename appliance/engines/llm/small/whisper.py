"""Whisper: 16 kHz speech of a few seconds in, English texts with their probabilities out.

Reads the weights in the format of CTranslate2 (`ctranslate2_file.py`), builds graphs with int8
weights of them (`whisper_graph.py`) and runs these by ONNX Runtime. The encoder's window is 10 s
instead of 30 s, because its time grows with the window. Only single words and letters are
recognized here, together with Moonshine (`short_words.py`).

Model: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022
(arXiv:2212.04356). The features and the order of the layers follow that paper and its code.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.beam_search import Beam, log_probabilities
from appliance.engines.llm.small.ctranslate2_file import Array, read_weights
from appliance.engines.llm.small.moonshine import decode, max_tokens
from appliance.engines.llm.small.vote import Candidate
from appliance.engines.llm.small.whisper_features import mel_features, mel_filters
from appliance.engines.llm.small.whisper_graph import HEAD, decoder_graph, encoder_graph
from appliance.engines.onnx_session import open_graph, speech_options
from appliance.errors import MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.memory import return_freed_memory

# Factor of the samples. Moonshine gets -17 dBFS; Whisper mishears that level more
# often: of 31 ordinals, 48 % at this level, and 39 % at a quarter of it (docs/quality.md).
GAIN: Final = 0.25
END: Final = "<|endoftext|>"  # the first of the special tokens
NO_SPEECH: Final = "<|nocaptions|>"  # predicted after the first token of the prompt
PROMPT: Final = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
ENGLISH_PROMPT: Final = ("<|startoftranscript|>", "<|notimestamps|>")  # of an English-only model
MULTILINGUAL_TOKENS: Final = 51865  # size of the vocabulary from which a model is multilingual
BEAM_WIDTH: Final = 3
_WORD = re.compile(r" ?[^\W\d_]+| ?\d+| ?[^\s\w]+")  # no token spans two of these


@dataclass(frozen=True, slots=True)
class EncodedSpeech:
    """Speech as the decoder reads it: the keys and values of its cross attention, by name."""

    cross: Mapping[str, Array]
    seconds: float


class Whisper:
    """The recognizer of short speech. Not thread-safe."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load and quantize the model. Raises MissingWeights."""
        for name in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise MissingWeights(path=folder / name)
        # Mapped, so that of the embeddings only the rows of tokens that were heard take memory.
        with (folder / "model.bin").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        weights = read_weights(mapped)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._tokens = tokenizer["model"]["vocab"]
        self._pieces = vocabulary(self._tokens)
        self._merges = {
            tuple(pair.split(" ")): rank for rank, pair in enumerate(tokenizer["model"]["merges"])
        }
        special = {token["content"]: int(token["id"]) for token in tokenizer["added_tokens"]}
        self._suppressed = np.array(config["suppress_ids"])
        self._suppressed_first = np.array(config["suppress_ids_begin"])
        self._embeddings = weights["decoder/embeddings/weight"]  # float16, in the file
        is_multilingual = len(self._embeddings) >= MULTILINGUAL_TOKENS
        prompt = PROMPT if is_multilingual else ENGLISH_PROMPT
        self._prompt = [special[name] for name in prompt]
        self._end = special[END]
        self._no_speech = special[NO_SPEECH]
        self._positions = weights["decoder/position_encodings/encodings"].astype("f4")
        options = speech_options(threads)
        # Without VNNI, sums of products of uint8 and int8 would saturate.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._encoder, self._decoder = (
            open_graph(graph, options) for graph in (encoder_graph(weights), decoder_graph(weights))
        )
        self._cross = [output.name for output in self._encoder.get_outputs()]
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._filters = mel_filters()
        mapped.madvise(mmap.MADV_DONTNEED)  # the rest is in the graphs now
        return_freed_memory()

    def encode(self, samples: Samples) -> EncodedSpeech:
        """Encode the first WINDOW_SECONDS of speech."""
        features = mel_features(samples * np.float32(GAIN), self._filters)
        cross = self._encoder.run(None, {"features": features[None]})
        return EncodedSpeech(
            dict(zip(self._cross, cross, strict=True)), len(samples) / INPUT_SAMPLE_RATE
        )

    def ballot(
        self, speech: EncodedSpeech, should_stop: Callable[[], bool] = lambda: False
    ) -> tuple[list[Candidate], float]:
        """Return the most probable texts of the speech, and how probable no speech is.

        `should_stop` is called before each token. If it returns True, the texts are incomplete.
        """
        beam = Beam(BEAM_WIDTH, self._end, BEAM_WIDTH)
        cache = self._empty_cache()
        rows = np.array([self._prompt])
        no_speech = 0.0
        for count in range(max_tokens(speech.seconds)):
            if should_stop():
                break
            scores, cache = self._step(rows, cache, speech.cross)
            if not count:
                no_speech = float(np.exp(log_probabilities(scores[0, 0])[self._no_speech]))
            logits = self._suppress(scores[:, -1], is_first=not count)
            parents = beam.advance([log_probabilities(row) for row in logits])
            if beam.is_done or not parents:
                break
            cache = {name: value[parents] for name, value in cache.items()}
            rows = np.array([[each.tokens[-1]] for each in beam.open])
        texts = beam.ended or [beam.best]
        return [(decode(each.tokens, self._pieces), each) for each in texts], no_speech

    def score_texts(self, speech: EncodedSpeech, texts: Sequence[str]) -> list[float]:
        """Return how probable each text is for the speech, as a logarithm."""
        tokens = [[*tokenize(f" {text}", self._tokens, self._merges), self._end] for text in texts]
        rows = np.full((len(texts), len(self._prompt) + max(map(len, tokens)) - 1), self._end)
        rows[:, : len(self._prompt)] = self._prompt
        for row, each in zip(rows, tokens, strict=True):
            row[len(self._prompt) : len(self._prompt) + len(each) - 1] = each[:-1]
        scores, _ = self._step(rows, self._empty_cache(len(texts)), speech.cross)
        scores = scores[:, len(self._prompt) - 1 :]
        return [
            sum(
                float(log_probabilities(logits)[token])
                for logits, token in zip(self._suppress(row[: len(each)]), each, strict=True)
            )
            for row, each in zip(scores, tokens, strict=True)
        ]

    def _empty_cache(self, rows: int = 1) -> dict[str, Array]:
        width = self._embeddings.shape[1]
        return {
            name.replace("present", "past"): np.zeros((rows, width // HEAD, 0, HEAD), "f4")
            for name in self._outputs[1:]
        }

    def _suppress(self, logits: Samples, is_first: bool = False) -> Samples:
        """Exclude the tokens that are not part of a text."""
        logits[:, self._suppressed] = -np.inf
        logits[:, self._end + 1 :] = -np.inf
        if is_first:
            logits[:, self._suppressed_first] = -np.inf
        return logits

    def _step(
        self, rows: Array, cache: dict[str, Array], cross: Mapping[str, Array]
    ) -> tuple[Samples, dict[str, Array]]:
        """Return the scores of what follows each token of each row, and the new cache."""
        count, past = rows.shape[1], next(iter(cache.values())).shape[2]
        states = self._embeddings[rows].astype("f4") + self._positions[past : past + count]
        mask = np.triu(np.full((count, past + count), -1e9, "f4"), past + 1)
        logits, *present = self._decoder.run(
            self._outputs, {"states": states, "mask": mask, **cache, **cross}
        )
        names = (name.replace("present", "past") for name in self._outputs[1:])
        return logits, dict(zip(names, present, strict=True))


def vocabulary(pieces: dict[str, int]) -> list[bytes]:
    """Return the bytes of each token, by id. In the file, each byte is a printable letter."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    letters |= {chr(256 + index): byte for index, byte in enumerate(others)}
    spelled = [b""] * (max(pieces.values()) + 1)
    for piece, token in pieces.items():
        spelled[token] = bytes(letters[letter] for letter in piece if letter in letters)
    return spelled


def tokenize(
    text: str, tokens: Mapping[str, int], merges: Mapping[tuple[str, ...], int]
) -> list[int]:
    """Return the tokens of an ASCII text by byte pair encoding (Sennrich et al., 2016).

    merges  the rank of each pair of pieces that is merged; the lowest rank is merged first
    """
    ids: list[int] = []
    for word in _WORD.findall(text):
        pieces = list(word.replace(" ", chr(256 + ord(" "))))
        while len(pieces) > 1:
            ranks = [merges.get(pair, len(merges)) for pair in pairwise(pieces)]
            if min(ranks) == len(merges):
                break
            first = ranks.index(min(ranks))
            pieces[first : first + 2] = ["".join(pieces[first : first + 2])]
        ids += (tokens[piece] for piece in pieces)
    return ids
