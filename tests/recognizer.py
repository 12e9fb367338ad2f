"""An independent recognizer (Whisper tiny.en), by which tests check what was really said."""

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
    """What is said in mono int16 or float samples: lower case, no punctuation."""
    samples = pcm.astype(np.float32) / (32768 if pcm.dtype.kind == "i" else 1)
    length = round(len(samples) * RATE / rate)
    # Linear interpolation is enough for a recognizer; speech has little above 8 kHz.
    at = np.linspace(0, max(len(samples) - 1, 0), length)
    samples = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    quiet = np.zeros(round(PADDING_SECONDS * RATE), np.float32)
    segments, _ = _model().transcribe(
        np.concatenate([quiet, samples, quiet]),
        language="en",
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
    )
    return plain(" ".join(segment.text for segment in segments))


def plain(text: str) -> str:
    """Lower case words and digits without punctuation, as `words` returns them."""
    text = text.lower().replace("’", "'").replace("%", " percent").replace("-", " ")
    return " ".join(re.findall(r"[a-z0-9']+", text))


def word_error_rate(expected: str, heard: str) -> float:
    """Insertions, deletions and substitutions per expected word (Levenshtein distance)."""
    wanted, got = plain(expected).split(), plain(heard).split()
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1] / max(len(wanted), 1)
