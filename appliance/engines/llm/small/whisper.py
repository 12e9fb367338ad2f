"""Whisper: 16 kHz speech of a few seconds in, English texts with their probabilities out.

Reads the weights in the format of CTranslate2, quantizes them to int8 and runs them by ONNX
Runtime. The encoder's window is 10 s instead of 30 s, because its time grows with the window. Only
single words and letters are recognized here, together with Moonshine (`short_words.py`).

Model: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022
(arXiv:2212.04356). The features and the order of the layers follow that paper and its code.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.moonshine import (
    Beam,
    Candidate,
    decode,
    log_probabilities,
    max_tokens,
)
from appliance.engines.onnx_session import (
    open_graph,
    return_freed_memory,
    return_large_blocks,
    session_options,
)
from appliance.errors import MissingWeights
from appliance.link.engine import INPUT_SAMPLE_RATE

WINDOW_SECONDS: Final = 10
FRAME_RATE: Final = 100  # of the features; an encoder state covers two frames
FFT_SIZE: Final = 400
HOP: Final = INPUT_SAMPLE_RATE // FRAME_RATE
BANDS: Final = 80
MIN_POWER: Final = 1e-10
DYNAMIC_RANGE: Final = 8.0  # of the features, in powers of ten
# Factor of the samples. Moonshine gets -17 dBFS; Whisper mishears that level more
# often: of 31 ordinals, 48 % at this level, and 39 % at a quarter of it (docs/quality.md).
GAIN: Final = 0.25
END: Final = "<|endoftext|>"  # the first of the special tokens
NO_SPEECH: Final = "<|nocaptions|>"  # predicted after the first token of the prompt
PROMPT: Final = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
ENGLISH_PROMPT: Final = ("<|startoftranscript|>", "<|notimestamps|>")  # of an English-only model
MULTILINGUAL_TOKENS: Final = 51865  # size of the vocabulary from which a model is multilingual
HEAD: Final = 64  # width of an attention head
BEAM_WIDTH: Final = 3
CONTRIBUTED: Final = "com.microsoft"  # the domain of ONNX Runtime's own operators
_WORD = re.compile(r" ?[^\W\d_]+| ?\d+| ?[^\s\w]+")  # no token spans two of these

Array = npt.NDArray[Any]


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
        options = session_options(threads)
        # Without VNNI, sums of products of uint8 and int8 would saturate.
        options.add_session_config_entry("session.x64quantprecision", "1")
        # The encoder's layers for 10 s of speech would stay reserved between two short utterances.
        options.enable_cpu_mem_arena = False
        return_large_blocks()
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
        beam = Beam(BEAM_WIDTH, BEAM_WIDTH, self._end)
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


def read_weights(data: bytes | mmap.mmap) -> dict[str, Array]:
    """Return the tensors of a CTranslate2 model file by name, as views. Raises ValueError.

    Format: version, name of the model, revision, number of tensors; for each tensor its name, rank,
    dimensions, type and bytes. A name has a 16-bit length and ends with a zero byte.
    """
    types = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
    offset = 4

    def number(code: str) -> int:
        nonlocal offset
        [value] = struct.unpack_from(f"<{code}", data, offset)
        offset += struct.calcsize(f"<{code}")
        return int(value)

    def name() -> str:
        nonlocal offset
        size = number("H")
        offset += size
        return bytes(data[offset - size : offset - 1]).decode()

    variables: dict[str, Array] = {}
    try:
        name()
        number("I")
        for _ in range(number("I")):
            key = name()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = types[number("B")], number("I")
            values = np.frombuffer(data, kind, int(np.prod(shape, dtype=int)), offset)
            variables[key] = values.reshape(shape)
            offset += size
    except (struct.error, KeyError) as problem:
        raise ValueError("not a model file of CTranslate2") from problem
    return variables


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


def mel_filters() -> Samples:
    """Return the filters of BANDS mel bands for each frequency of the spectrum (Slaney's scale).

    The scale is linear up to 1 kHz (15 mel) and then logarithmic: 27 mel for a factor of 6.4.
    """
    top = 15 + 27 * np.log(INPUT_SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    hertz = np.fft.rfftfreq(FFT_SIZE, 1 / INPUT_SAMPLE_RATE)
    slopes = (hertz[None] - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]
    rising = slopes[:-2]
    falling = 1 - slopes[1:-1]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(filters, np.float32)


def mel_features(samples: Samples, filters: Samples) -> Samples:
    """Return the features of WINDOW_SECONDS of speech, float32 BANDS x frames."""
    size = WINDOW_SECONDS * INPUT_SAMPLE_RATE
    window = np.zeros(size, np.float32)
    window[: min(size, len(samples))] = samples[:size]
    padded = np.pad(window, FFT_SIZE // 2, "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[:-1:HOP]
    hann = np.hanning(FFT_SIZE + 1)[:-1].astype("f4")
    power = np.square(np.abs(np.fft.rfft(frames * hann))).astype("f4")
    levels = np.log10(np.maximum(filters @ power.T, MIN_POWER))
    levels = np.maximum(levels, levels.max() - DYNAMIC_RANGE)
    return np.asarray((levels + 4) / 4, np.float32)


class _Graph:
    """Collects the nodes and weights of a graph. Its methods return the name of their output."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, inputs, [name], name, domain=domain, **attributes)
        )
        return name

    def rename(self, value: str, name: str) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def constant(self, values: Array) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(self._weights[name].astype("f4"))

    def norm(self, value: str, name: str) -> str:
        gamma, beta = self.weight(f"{name}/gamma"), self.weight(f"{name}/beta")
        return self.node("LayerNormalization", value, gamma, beta, axis=-1, epsilon=1e-5)

    def linear(self, value: str, name: str) -> str:
        """A linear layer with int8 weights, one scale per output."""
        weight = self._weights[f"{name}/weight"].astype("f4")
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-8) / np.float32(127)
        whole = np.rint(weight / scale[:, None]).astype("i1").T
        inputs = [value, self.constant(whole), self.constant(scale.astype("f4")), ""]
        if f"{name}/bias" in self._weights:
            inputs.append(self.weight(f"{name}/bias"))
        return self.node("DynamicQuantizeMatMul", *inputs, domain=CONTRIBUTED)

    def split(self, value: str, parts: int) -> list[str]:
        names = [f"part_{len(self._nodes)}_{index}" for index in range(parts)]
        self._nodes.append(helper.make_node("Split", [value], names, axis=-1, num_outputs=parts))
        return names

    def heads(self, value: str) -> str:
        """Batch x length x width to batch x heads x length x HEAD."""
        shaped = self.node("Reshape", value, self.constant(np.array([0, 0, -1, HEAD])))
        return self.node("Transpose", shaped, perm=[0, 2, 1, 3])

    def attend(self, query: str, keys: str, values: str, mask: str = "") -> str:
        factor = self.constant(np.array(HEAD**-0.5, "f4"))
        scaled = self.node("Mul", self.heads(query), factor)
        scores = self.node("MatMul", scaled, self.node("Transpose", keys, perm=[0, 1, 3, 2]))
        if mask:
            scores = self.node("Add", scores, mask)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), values)
        ordered = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.node("Reshape", ordered, self.constant(np.array([0, 0, -1])))

    def feed_forward(self, value: str, name: str) -> str:
        inner = self.linear(self.norm(value, f"{name}/layer_norm"), f"{name}/linear_0")
        inner = self.node("Gelu", inner)
        return self.node("Add", value, self.linear(inner, f"{name}/linear_1"))

    def model(self, inputs: dict[str, list[Any]], outputs: Sequence[str]) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "whisper",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self._constants,
        )
        sets = [helper.make_opsetid("", 20), helper.make_opsetid(CONTRIBUTED, 1)]
        built = helper.make_model(graph, opset_imports=sets, ir_version=9)
        return bytes(built.SerializeToString())


def _layers(weights: dict[str, Array], part: str) -> int:
    return sum(name.startswith(part) and name.endswith("ffn/linear_0/bias") for name in weights)


def encoder_graph(weights: dict[str, Array]) -> bytes:
    """Return a graph from features to the keys and values of each cross attention."""
    graph = _Graph(weights)
    value = "features"
    for name, stride in (("conv1", 1), ("conv2", 2)):
        inputs = [graph.weight(f"encoder/{name}/{part}") for part in ("weight", "bias")]
        value = graph.node("Conv", value, *inputs, pads=[1, 1], strides=[stride])
        value = graph.node("Gelu", value)
    states = WINDOW_SECONDS * FRAME_RATE // 2
    positions = weights["encoder/position_encodings/encodings"][:states].astype("f4")
    value = graph.node("Transpose", value, perm=[0, 2, 1])
    value = graph.node("Add", value, graph.constant(positions))
    for number in range(_layers(weights, "encoder")):
        name = f"encoder/layer_{number}/self_attention"
        normed = graph.norm(value, f"{name}/layer_norm")
        query, keys, values = graph.split(graph.linear(normed, f"{name}/linear_0"), 3)
        mixed = graph.attend(query, graph.heads(keys), graph.heads(values))
        value = graph.node("Add", value, graph.linear(mixed, f"{name}/linear_1"))
        value = graph.feed_forward(value, f"encoder/layer_{number}/ffn")
    value = graph.norm(value, "encoder/layer_norm")
    outputs = []
    for number in range(_layers(weights, "decoder")):
        both = graph.linear(value, f"decoder/layer_{number}/attention/linear_1")
        for kind, part in zip(("keys", "values"), graph.split(both, 2), strict=True):
            outputs.append(f"cross_{kind}_{number}")
            graph.rename(graph.heads(part), outputs[-1])
    return graph.model({"features": [1, BANDS, 2 * states]}, outputs)


def decoder_graph(weights: dict[str, Array]) -> bytes:
    """Return a graph from embedded tokens to the scores of the next ones, with a cache."""
    graph = _Graph({**weights, "projection/weight": weights["decoder/embeddings/weight"]})
    width = weights["decoder/embeddings/weight"].shape[1]
    value = "states"
    inputs: dict[str, list[Any]] = {"states": ["rows", "new", width], "mask": ["new", "all"]}
    outputs = ["logits"]
    for number in range(_layers(weights, "decoder")):
        name = f"decoder/layer_{number}/self_attention"
        normed = graph.norm(value, f"{name}/layer_norm")
        query, *new = graph.split(graph.linear(normed, f"{name}/linear_0"), 3)
        whole = []
        for kind, part in zip(("keys", "values"), new, strict=True):
            inputs[f"past_{kind}_{number}"] = ["rows", width // HEAD, "past", HEAD]
            inputs[f"cross_{kind}_{number}"] = [1, width // HEAD, "time", HEAD]
            past = f"past_{kind}_{number}"
            whole.append(graph.node("Concat", past, graph.heads(part), axis=2))
            outputs.append(f"present_{kind}_{number}")
            graph.rename(whole[-1], outputs[-1])
        mixed = graph.attend(query, whole[0], whole[1], mask="mask")
        value = graph.node("Add", value, graph.linear(mixed, f"{name}/linear_1"))
        name = f"decoder/layer_{number}/attention"
        query = graph.linear(graph.norm(value, f"{name}/layer_norm"), f"{name}/linear_0")
        mixed = graph.attend(query, f"cross_keys_{number}", f"cross_values_{number}")
        value = graph.node("Add", value, graph.linear(mixed, f"{name}/linear_2"))
        value = graph.feed_forward(value, f"decoder/layer_{number}/ffn")
    graph.rename(graph.linear(graph.norm(value, "decoder/layer_norm"), "projection"), "logits")
    return graph.model(inputs, outputs)
