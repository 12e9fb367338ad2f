"""An independent recognizer (Whisper tiny.en), which transcribes audio for the tests."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL = Path(__file__).parents[1] / "weights" / "whisper-tiny-en"
RATE = 16_000
PADDING_SECONDS = 0.3  # Whisper misses words at the very edge of a recording


@functools.cache
def _model() -> Any:
    from faster_whisper import WhisperModel  # type: ignore[import-untyped]

    return WhisperModel(
        str(MODEL), device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True
    )


def words(pcm: NDArray[Any], rate: int) -> str:
    """Transcribe mono int16 or float samples: lower case, without punctuation."""
    samples = pcm.astype(np.float32) / (32768 if pcm.dtype.kind == "i" else 1)
    length = round(len(samples) * RATE / rate)
    # Linear interpolation is good enough: speech has little energy above 8 kHz.
    positions = np.linspace(0, max(len(samples) - 1, 0), length)
    samples = np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)
    silence = np.zeros(round(PADDING_SECONDS * RATE), np.float32)
    segments, _ = _model().transcribe(
        np.concatenate([silence, samples, silence]),
        language="en",
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
    )
    return plain(" ".join(segment.text for segment in segments))


def plain(text: str) -> str:
    """Reduce text to what `words` returns: lower case words and digits without punctuation."""
    text = text.lower().replace("’", "'").replace("%", " percent").replace("-", " ")
    return " ".join(re.findall(r"[a-z0-9']+", text))


def word_error_rate(expected: str, heard: str) -> float:
    """Insertions, deletions and substitutions per expected word (Levenshtein distance)."""
    reference, hypothesis = plain(expected).split(), plain(heard).split()
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            cost = diagonal + (word != other)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, cost)
    return row[-1] / max(len(reference), 1)
