"""Kokoro-82M: phonemes and a style in, 24 kHz speech out.

Three back ends share one interface, `Synthesizer`. The int8 model under onnxruntime is here: in two
parts, which streams (profile cpu), or in one part. torch_synthesizer.py has the model in PyTorch
(profile gpu).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance import settings
from appliance.engines.tts.audio import Samples
from appliance.engines.tts.pieces import (
    FRAME_SAMPLES,
    FRAMES_PER_DURATION,
    HARMONICS_PER_FRAME,
    find_words,
    one_piece,
    plan_pieces,
)
from appliance.engines.tts.statistics import is_predictable, predict
from appliance.engines.tts.voices import Style, VoiceStyle
from appliance.errors import MissingWeights
from appliance.memory import return_freed_memory

FOLDER = "kokoro-82m"
ONNX_MODEL = "kokoro-v1.0.int8.onnx"
TORCH_MODEL = "kokoro-v1_0.safetensors"
MAX_PHONEMES = 510  # the model's context is 512 tokens, including one padding token at each end


class SynthesisCancelled(Exception):
    """The running synthesis was stopped by `Synthesizer.cancel`."""


class Synthesizer(Protocol):
    """A loaded model. Only one thread calls `stream`; any thread may call `cancel`.

    streams  whether speech comes in several parts, for which VoiceStyle needs coefficients
    """

    streams: bool

    def stream(self, phonemes: str, style: VoiceStyle, speed: float) -> Iterator[Samples]:
        """Synthesize speech at 24 kHz, -1..1, with some silence around it, in one or more parts.

        Phonemes that the model does not know are skipped; there is no part if none are known.
        A `speed` of 1 is the natural pace of the voice. Raises ValueError for more than
        MAX_PHONEMES, and SynthesisCancelled.
        """

    def cancel(self) -> None:
        """Stop the running synthesis soon. Does nothing on a GPU, or if none is running."""


def load(config: settings.TTSConfig, weights: Path) -> Synthesizer:
    """Load the configured back end from the weights folder.

    Raises MissingWeights and BadSetting.
    """
    if config.backend == "torch":
        # Imported only here, because it needs PyTorch, which the profile cpu does not have.
        from appliance.engines.tts.torch_synthesizer import TorchSynthesizer

        return TorchSynthesizer(weights / FOLDER, config.device, config.threads)
    onnx_class = StreamingOnnxSynthesizer if config.streaming else OnnxSynthesizer
    synthesizer = onnx_class(weights / FOLDER, config.threads)
    # Building a graph and loading it hold the weights several times: 190 MB of freed memory.
    return_freed_memory()
    return synthesizer


class OnnxSynthesizer:
    """The int8 model under onnxruntime, which synthesizes a phrase as a whole."""

    streams = False

    def __init__(self, folder: Path, threads: int) -> None:
        from appliance.engines.tts.onnx_graph import fast_graph

        path = require_file(folder / ONNX_MODEL)
        self._ids = load_vocabulary(folder)
        self._runtime = OnnxRuntime(threads)
        self._model = self._runtime.load(fast_graph(path, has_exact_byte_products()))

    def stream(self, phonemes: str, style: VoiceStyle, speed: float) -> Iterator[Samples]:
        """See Synthesizer."""
        if inputs := onnx_inputs(phonemes, self._ids, style.vector, speed):
            (samples,) = self._runtime.run(self._model, inputs)
            yield np.asarray(samples, dtype=np.float32)

    def cancel(self) -> None:
        """See Synthesizer."""
        self._runtime.cancel()


class StreamingOnnxSynthesizer:
    """The int8 model in two parts (onnx_split.py): yields speech while the rest is vocoded."""

    streams = True

    def __init__(self, folder: Path, threads: int) -> None:
        from appliance.engines.tts import onnx_split

        path = require_file(folder / ONNX_MODEL)
        self._ids = load_vocabulary(folder)
        self._runtime = OnnxRuntime(threads)
        acoustic_model, vocoder = onnx_split.split_model(path, has_exact_byte_products())
        self._acoustic_model = self._runtime.load(acoustic_model)
        self._vocoder = self._runtime.load(vocoder)
        self._names = onnx_split.VOCODER_INPUTS

    def stream(self, phonemes: str, style: VoiceStyle, speed: float) -> Iterator[Samples]:
        """See Synthesizer. The silence around the words is mostly left out."""
        inputs = onnx_inputs(phonemes, self._ids, style.vector, speed)
        if not inputs:
            return
        features, harmonics, durations, energies = self._runtime.run(self._acoustic_model, inputs)
        frames = features.shape[2]
        lead_frames = FRAMES_PER_DURATION * float(np.ravel(durations)[0])
        norms = predict(style.coefficients, lead_frames, frames)
        predictable = is_predictable(speed, frames)
        divide = plan_pieces if predictable else one_piece
        for piece in divide(*find_words(np.ravel(energies)), frames):
            last_step = piece.last * HARMONICS_PER_FRAME + 1
            values = (
                features[:, :, piece.first : piece.last],
                harmonics[:, :, piece.first * HARMONICS_PER_FRAME : last_step],
                style.vector,
                norms.inverse_deviations,
                norms.offsets,
                np.array(not predictable),
            )
            named = zip(self._names, map(np.asarray, values), strict=True)
            (samples,) = self._runtime.run(self._vocoder, dict(named))
            start = (piece.start - piece.first) * FRAME_SAMPLES
            stop = (piece.stop - piece.first) * FRAME_SAMPLES
            yield np.asarray(np.ravel(samples)[start:stop], dtype=np.float32)

    def cancel(self) -> None:
        """See Synthesizer."""
        self._runtime.cancel()


class OnnxRuntime:
    """onnxruntime sessions of one thread, whose running inference another thread can cancel."""

    def __init__(self, threads: int) -> None:
        import onnxruntime as ort  # type: ignore[import-untyped]

        from appliance.engines import onnx_session

        self._ort = ort
        self._open_graph = onnx_session.open_graph
        self._options = onnx_session.session_options(threads)
        self._running: Any = None  # RunOptions of the running inference

    def load(self, model: bytes) -> Any:
        """Return a session for a serialized model."""
        return self._open_graph(model, self._options)

    def run(self, session: Any, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the outputs of a model. Raises SynthesisCancelled."""
        running = self._running = self._ort.RunOptions()
        try:
            outputs: list[NDArray[np.float32]] = session.run(None, inputs, running)
            return outputs
        except Exception as error:
            if running.terminate:
                raise SynthesisCancelled from error
            raise
        finally:
            self._running = None

    def cancel(self) -> None:
        """Stop the running inference. The flag is checked between two nodes of the graph."""
        running = self._running
        if running is not None:
            running.terminate = True


def onnx_inputs(
    phonemes: str, ids: Mapping[str, int], style: Style, speed: float
) -> dict[str, NDArray[Any]]:
    """Return the inputs of the model; empty if no phoneme is known."""
    tokens = token_ids(phonemes, ids)
    if not tokens:
        return {}
    return {
        "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
        "style": style,
        "speed": np.array([speed], dtype=np.float32),
    }


def token_ids(phonemes: str, ids: Mapping[str, int]) -> list[int]:
    """Return the tokens of the known phonemes. Raises ValueError for more than MAX_PHONEMES."""
    tokens = [ids[char] for char in phonemes if char in ids]
    if len(tokens) > MAX_PHONEMES:
        raise ValueError(f"{len(tokens)} phonemes; the model takes at most {MAX_PHONEMES}")
    return tokens


def load_vocabulary(folder: Path) -> Mapping[str, int]:
    """Return the token of each phoneme. Raises MissingWeights."""
    path = require_file(folder / "vocab.json")
    vocabulary: Mapping[str, int] = json.loads(path.read_text(encoding="utf-8"))["vocab"]
    return vocabulary


def require_file(path: Path) -> Path:
    """Return the path. Raises MissingWeights if there is no file."""
    if not path.is_file():
        raise MissingWeights(path=str(path))
    return path


def has_exact_byte_products(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU sums products of u8 and s8 without saturation (x86 VNNI)."""
    if not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)
