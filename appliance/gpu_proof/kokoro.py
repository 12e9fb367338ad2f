"""Step `kokoro`: the PyTorch back end on the card, beside the CPU.

Without safetensors weights they are built from the int8 ONNX model. Measured: the same durations
and nearly the same spectrum as on the CPU; time to audio and real-time factor by length of the
phrase; callers at the same time; the vocoder as a CUDA graph and compiled; Kokoro's own pipeline.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from appliance.engines.tts.synthesizer import (
    FOLDER,
    ONNX_MODEL,
    TORCH_MODEL,
    OnnxSynthesizer,
    Synthesizer,
)
from appliance.engines.tts.torch_synthesizer import TorchSynthesizer, empty_torch_model
from appliance.engines.tts.voices import Voices, VoiceStyle
from appliance.gpu_proof.phrases import PHRASES, ProofPhrase
from appliance.gpu_proof.results import Results, StepOptions, parse
from appliance.gpu_proof.spectra import similarity
from appliance.link.engine import OUTPUT_SAMPLE_RATE

VOICE = "af_heart"
CPU_THREADS = 4
CALLERS = (1, 2, 4, 8)
_COMPILE_SECONDS = 60.0


def main(options: StepOptions) -> int:
    results = Results(options.results, options.seconds)
    bench = KokoroBench(options, results)
    phrases = PHRASES[:2] if options.is_rehearsal else PHRASES
    bench.measure_speed(phrases)
    with results.attempt("comparison with the CPU"):
        bench.compare_with_cpu(phrases[:3])
    with results.attempt("callers at the same time"):
        bench.measure_callers(phrases[-1] if options.is_rehearsal else PHRASES[2])
    with results.attempt("callers on streams of their own"):
        bench.measure_streams(phrases[-1] if options.is_rehearsal else PHRASES[2])
    vocoder = Vocoder(bench, phrases[1])
    with results.attempt("vocoder"):
        vocoder.measure_shares()
    if results.require_time("compiled vocoder", 1 if options.is_rehearsal else _COMPILE_SECONDS):
        with results.attempt("compiled vocoder"):
            vocoder.measure_compiled()
    with results.attempt("Kokoro's own pipeline"):
        bench.measure_own_pipeline(phrases)
    vocoder.measure_graph()  # last: a capture that fails can disturb what follows
    return 0


class KokoroBench:
    """Measures the PyTorch back end with the weights that are there."""

    def __init__(self, options: StepOptions, results: Results) -> None:
        self.results = results
        self.device = options.device
        self.is_rehearsal = options.is_rehearsal
        self.rounds = 1 if options.is_rehearsal else 10
        self.folder = torch_folder(options.weights / FOLDER, options.scratch / FOLDER, results)
        self._source = options.weights / FOLDER
        self.voices = Voices(self._source / "voices")
        started = time.perf_counter()
        self.synthesizer = TorchSynthesizer(self.folder, self.device, CPU_THREADS)
        results.measure("load", [time.perf_counter() - started], "s")

    def speak(
        self, phrase: ProofPhrase, synthesizer: Synthesizer | None = None
    ) -> np.ndarray[Any, Any]:
        """Synthesize a phrase; the samples are on the CPU when this returns."""
        synthesizer = synthesizer or self.synthesizer
        style = VoiceStyle(self.voices.style(VOICE, len(phrase.phonemes)))
        return np.concatenate([*synthesizer.stream(phrase.phonemes, style, 1.0)])

    def measure_speed(self, phrases: Sequence[ProofPhrase]) -> None:
        """Time to audio and real-time factor, by length of the phrase."""
        for phrase in phrases:
            count = len(phrase.phonemes)
            started = time.perf_counter()
            samples = self.speak(phrase)
            self.results.measure(
                "first synthesis of this length",
                [(time.perf_counter() - started) * 1000],
                "ms",
                phonemes=count,
            )
            seconds = self.time(partial(self.speak, phrase))
            self.results.measure(
                "time to audio", [1000 * each for each in seconds], "ms", phonemes=count
            )
            audio_seconds = len(samples) / OUTPUT_SAMPLE_RATE
            factors = [each / audio_seconds for each in seconds]
            self.results.measure("real-time factor", factors, "ratio", phonemes=count)
        if self.device == "cuda":
            torch = importlib.import_module("torch")
            peak = torch.cuda.max_memory_reserved() / 2**30
            self.results.measure("memory reserved by PyTorch", [peak], "GiB")

    def compare_with_cpu(self, phrases: Sequence[ProofPhrase]) -> None:
        """Against PyTorch on the CPU (same weights) and the int8 model under onnxruntime."""
        references: dict[str, Synthesizer] = {
            "PyTorch on the CPU": TorchSynthesizer(self.folder, "cpu", CPU_THREADS)
        }
        if (self._source / ONNX_MODEL).exists() and importlib.util.find_spec("onnxruntime"):
            references["onnxruntime, int8"] = OnnxSynthesizer(self._source, CPU_THREADS)
        for name, synthesizer in references.items():
            alike, lengths = [], []
            for phrase in phrases:
                actual, expected = self.speak(phrase), self.speak(phrase, synthesizer)
                lengths.append(len(actual) / len(expected))
                alike.append(similarity(actual, expected))
            self.results.measure("duration / reference", lengths, "ratio", reference=name)
            self.results.measure("lowest similarity", [min(alike)], "ratio", reference=name)

    def measure_callers(self, phrase: ProofPhrase) -> None:
        """Several threads want the same phrase at the same moment, on one stream."""
        self._measure_concurrency(phrase, "callers, one stream", lambda work: work())

    def measure_streams(self, phrase: ProofPhrase) -> None:
        """The same with a CUDA stream for each thread."""
        torch = importlib.import_module("torch")
        if self.device != "cuda":
            self.results.not_applicable("callers, a stream each", "streams need CUDA")
            return

        def on_stream(work: Callable[[], Any]) -> None:
            with torch.cuda.stream(torch.cuda.Stream()):
                work()

        self._measure_concurrency(phrase, "callers, a stream each", on_stream)

    def _measure_concurrency(
        self, phrase: ProofPhrase, name: str, around: Callable[[Callable[[], Any]], Any]
    ) -> None:
        for count in CALLERS[:2] if self.device == "cpu" else CALLERS:
            delays: list[float] = []

            def call(started: float, delays: list[float] = delays) -> None:
                around(lambda: self.speak(phrase))
                delays.append((time.perf_counter() - started) * 1000)

            with ThreadPoolExecutor(count) as pool:
                for _ in range(max(1, self.rounds // 2)):
                    started = time.perf_counter()
                    for each in [pool.submit(call, started) for _ in range(count)]:
                        each.result()
            self.results.measure(name, delays, "ms", callers=count)

    def measure_own_pipeline(self, phrases: Sequence[ProofPhrase]) -> None:
        """KPipeline of the package `kokoro`, given the phonemes."""
        torch = importlib.import_module("torch")
        for module in [name for name in sys.modules if name.split(".")[0] == "kokoro"]:
            del sys.modules[module]  # our back end avoids the package's own __init__
        try:
            pipeline_class = importlib.import_module("kokoro").KPipeline
        except ModuleNotFoundError as error:
            # It needs phonemizer and espeakng_loader (GPL-3), which we do not install.
            self.results.not_applicable("KPipeline", f"{error.name} is not installed")
            return
        pipeline = pipeline_class(lang_code="a", repo_id="local", model=False)
        model = load_model(self.folder, self.device)
        for phrase in phrases:
            pack = torch.from_numpy(
                np.stack([self.voices.style(VOICE, n + 1) for n in range(510)])
            ).to(self.device)

            def speak(phrase: ProofPhrase = phrase, pack: Any = pack) -> None:
                for result in pipeline.generate_from_tokens(phrase.phonemes, pack, 1.0, model):
                    result.audio.cpu()

            speak()
            values = [1000 * each for each in self.time(speak)]
            self.results.measure(
                "time to audio, KPipeline", values, "ms", phonemes=len(phrase.phonemes)
            )

    def time(self, work: Callable[[], Any]) -> list[float]:
        """Seconds of each of several runs."""
        seconds = []
        for _ in range(self.rounds):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        return seconds


class Vocoder:
    """Kokoro's decoder alone: nearly all of the time, and the part whose shapes can be fixed."""

    def __init__(self, bench: KokoroBench, phrase: ProofPhrase) -> None:
        self._torch = importlib.import_module("torch")
        self._bench = bench
        self._phrase = phrase
        self._is_rehearsal = bench.is_rehearsal
        self._model = load_model(bench.folder, bench.device)
        self._inputs: tuple[Any, ...] = ()

    def measure_shares(self) -> None:
        """Time of the vocoder, as a share of the whole synthesis."""
        self._capture_inputs()
        values = self._measure("vocoder", self._model.decoder)
        whole = statistics.median(self._bench.time(lambda: self._bench.speak(self._phrase)))
        self._bench.results.measure(
            "vocoder / whole synthesis", [statistics.median(values) / (1000 * whole)], "ratio"
        )

    def measure_graph(self) -> None:
        """A CUDA graph of the vocoder for one length; notes why if it cannot be captured.

        kokoro 0.9.4 copies the window of its inverse STFT from the CPU, and torch.istft compares on
        the device and waits for the result. Neither is allowed in a capture. The window is moved
        here; the comparison stays.
        """
        results = self._bench.results
        if self._bench.device != "cuda":
            results.not_applicable("vocoder, CUDA graph", "graphs need CUDA")
            return
        stft = self._model.decoder.generator.stft
        stft.window = stft.window.to(self._bench.device)
        try:
            self._capture_and_measure()
        except RuntimeError as error:
            cause = error.__context__ or error
            results.not_applicable("vocoder, CUDA graph", f"it cannot be captured: {cause}"[:300])

    def _capture_and_measure(self) -> None:
        torch = self._torch
        inputs = [each.clone() for each in self._inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode():
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._model.decoder(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = self._model.decoder(*inputs)

            def replay(*_inputs: Any) -> Any:
                graph.replay()
                return output

            self._measure("vocoder, CUDA graph", replay)

    def measure_compiled(self) -> None:
        """The vocoder through torch.compile, for changing lengths."""
        started = time.perf_counter()
        backend = "eager" if self._is_rehearsal else "inductor"
        compiled = self._torch.compile(self._model.decoder, dynamic=True, backend=backend)
        with self._torch.inference_mode():
            compiled(*self._inputs)
        self._bench.results.measure("compiling the vocoder", [time.perf_counter() - started], "s")
        self._measure("vocoder, compiled", compiled)

    def _capture_inputs(self) -> None:
        def keep(_module: Any, inputs: tuple[Any, ...]) -> None:
            self._inputs = tuple(each.clone() for each in inputs)

        hook = self._model.decoder.register_forward_pre_hook(keep)
        torch = self._torch
        ids = [
            self._model.vocab[char] for char in self._phrase.phonemes if char in self._model.vocab
        ]
        style = self._bench.voices.style(VOICE, len(ids))
        with torch.inference_mode():
            self._model.forward_with_tokens(
                torch.tensor([[0, *ids, 0]], device=self._bench.device),
                torch.from_numpy(np.array(style)).to(self._bench.device),
                1.0,
            )
        hook.remove()

    def _measure(self, name: str, decode: Callable[..., Any]) -> list[float]:
        """Measure one way to run the vocoder, in ms."""
        values = []
        with self._torch.inference_mode():
            for _ in range(self._bench.rounds):
                started = time.perf_counter()
                decode(*self._inputs).cpu()
                values.append((time.perf_counter() - started) * 1000)
        self._bench.results.measure(name, values, "ms", phonemes=len(self._phrase.phonemes))
        return values


def torch_folder(source: Path, scratch: Path, results: Results) -> Path:
    """The folder with safetensors weights; built from the int8 model if there are none."""
    if (source / TORCH_MODEL).exists():
        return source
    from appliance.gpu_proof.dequantise import dequantise

    if not (scratch / TORCH_MODEL).exists():
        dequantise(source, scratch)
    results.note("weights: the int8 model in float32, not the published checkpoint")
    return scratch


def load_model(folder: Path, device: str) -> Any:
    """The model of the package `kokoro`, as our back end loads it."""
    load_file = importlib.import_module("safetensors.torch").load_file
    model = empty_torch_model(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    model.load_state_dict(load_file(folder / TORCH_MODEL))
    return model.to(device).eval()


if __name__ == "__main__":
    sys.exit(main(parse("kokoro", __doc__, sys.argv[1:])))
