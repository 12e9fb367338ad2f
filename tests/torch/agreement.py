"""Compare Kokoro in PyTorch with Kokoro in onnxruntime: `.venv-torch/bin/python -m` this module.

Both speak the same lines of tests/spoken. The test recognizer hears both, as an independent judge:
how many words differ from the spoken ones, and from the other engine's. PyTorch gets the int8
weights in float32 (gpu_proof/dequantise.py), because the published checkpoint is not part of the
repository.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np

from appliance.engines.tts import audio
from appliance.engines.tts.reader import Reader
from appliance.engines.tts.synthesizer import FOLDER, Synthesizer, load
from appliance.engines.tts.text.normalize import normalize
from appliance.engines.tts.voices import Voices
from appliance.gpu_proof.dequantise import dequantise
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.settings import TTSConfig
from tests.engines.tts.contract import stream
from tests.recognizer import plain, word_error_rate, words
from tests.spoken.scoring import Case
from tests.spoken.scoring import load as load_cases

ROOT = Path(__file__).resolve().parents[2]
FILES = tuple(sorted((ROOT / "tests" / "spoken").glob("*.tsv")))
TORCH = TTSConfig(backend="torch", device="cpu")
BACKENDS = {
    "PyTorch": TORCH,
    "PyTorch, again": TORCH,  # the voice holds noise, so that the recognizer errs differently
    "onnxruntime, whole": TTSConfig(streaming=False),
    "onnxruntime, streamed": TTSConfig(),
}
REPORT_LINES = 10  # between two tables, because a run takes minutes


@dataclass(frozen=True, slots=True)
class Spoken:
    """One line by one back end: its length, and what the recognizer heard, in words."""

    seconds: float
    heard: str


def sample(cases: Iterable[Case], per_category: int) -> list[Case]:
    """Return `per_category` cases of each category, evenly spaced from the shortest to longest.

    The shortest ones of all categories come first.
    """
    by_category: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_category[case.category].append(case)
    chosen: list[list[Case]] = [[] for _ in range(per_category)]
    for group in by_category.values():
        group.sort(key=lambda case: len(case.written))
        places = np.linspace(0, len(group) - 1, min(per_category, len(group)))
        for number, place in enumerate(places):
            chosen[number].append(group[round(place)])
    return [case for cases in chosen for case in cases]


def speak(synthesizer: Synthesizer, reader: Reader, voices: Voices, text: str) -> Spoken:
    """Synthesize a written text in chunks, as the engine does."""
    chunks = audio.split_phonemes(reader.read(text).phonemes)
    samples = np.concatenate([shaped(stream(synthesizer, c, voices), c) for c in chunks])
    return Spoken(len(samples) / OUTPUT_SAMPLE_RATE, as_words(words(samples, OUTPUT_SAMPLE_RATE)))


def shaped(samples: audio.Samples, chunk: str) -> audio.Samples:
    """Return the samples of a chunk as the engine plays them."""
    shaper = audio.SpeechShaper(audio.pause_seconds(chunk))
    return np.concatenate([shaper.add(samples), shaper.finish()])


def as_words(text: str) -> str:
    """Write numbers as words: the recognizer writes both "2" and "two"."""
    return plain(normalize(text, british=False))


def table(lines: Sequence[tuple[str, dict[str, Spoken]]], reference: str = "PyTorch") -> str:
    """Return one row for each back end. Each line is its spoken words, and its results."""
    rows = [f"{'':24}word errors, %  lines without error  words as {reference}  length, s (ratio)"]
    for name in lines[0][1]:
        errors = [word_error_rate(spoken, results[name].heard) for spoken, results in lines]
        same = [results[name].heard == results[reference].heard for _, results in lines]
        ratios = [results[name].seconds / results[reference].seconds for _, results in lines]
        rows.append(
            f"{name:24}{100 * mean(errors):14.1f}{sum(error == 0 for error in errors):21}"
            f"{sum(same):18}{sum(r[name].seconds for _, r in lines):14.1f}"
            f" ({median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f})"
        )
    return "\n".join([*rows, f"{len(lines)} lines"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=4, help="lines of each category (4)")
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    args = parser.parse_args()
    cases = sample([case for file in FILES for case in load_cases(file)], args.lines)
    reader, voices = Reader(args.weights), Voices(args.weights / FOLDER / "voices")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        dequantise(args.weights / FOLDER, Path(folder) / FOLDER)
        models = {
            name: load(config, Path(folder) if config is TORCH else args.weights)
            for name, config in BACKENDS.items()
        }
        for case in cases:
            spoken = plain(reader.read(case.written).words)
            results = {n: speak(model, reader, voices, case.written) for n, model in models.items()}
            lines.append((spoken, results))
            if len({result.heard for result in results.values()}) > 1:
                print(f"{case.category}: {spoken}", flush=True)
                for name, result in results.items():
                    print(f"    {name:24}{result.heard}", flush=True)
            if len(lines) % REPORT_LINES == 0:
                print(table(lines), flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
