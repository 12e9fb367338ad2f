"""Shapes the model's samples: silence to a natural length, no clicks, no clipping, PCM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.link.engine import OUTPUT_SAMPLE_RATE

LEAD_SECONDS = 0.02
SENTENCE_PAUSE_SECONDS = 0.25
CLAUSE_PAUSE_SECONDS = 0.12
WORD_PAUSE_SECONDS = 0.04
FADE_SECONDS = 0.005
SLICE_SECONDS = 0.2  # of PCM handed on at once
CEILING = 0.98
AUDIBLE = 0.01  # peak of a window that is speech; the model's own silence stays below 0.003
WINDOW = OUTPUT_SAMPLE_RATE // 200  # 5 ms

Samples = NDArray[np.float32]


def pause_seconds(phonemes: str) -> float:
    """How long a speaker pauses after a phrase, by its last punctuation."""
    mark = phonemes.rstrip(" \"”“')(")[-1:]
    if mark and mark in ".!?…":
        return SENTENCE_PAUSE_SECONDS
    return CLAUSE_PAUSE_SECONDS if mark and mark in ",;:—" else WORD_PAUSE_SECONDS


def shape(samples: Samples, pause: float) -> Samples:
    """The speech with LEAD_SECONDS before and `pause` seconds after it; empty if it is silent."""
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    windows = np.abs(samples[: len(samples) // WINDOW * WINDOW]).reshape(-1, WINDOW).max(axis=1)
    loud = np.flatnonzero(windows > AUDIBLE)
    if not len(loud):
        return np.zeros(0, np.float32)
    start = max(0, int(loud[0]) * WINDOW - round(LEAD_SECONDS * OUTPUT_SAMPLE_RATE))
    speech_end = (int(loud[-1]) + 1) * WINDOW
    end = speech_end + round(pause * OUTPUT_SAMPLE_RATE)
    shaped = samples[start:end].astype(np.float32)
    peak = float(np.abs(shaped).max())
    if peak > CEILING:
        shaped *= CEILING / peak
    fade = np.linspace(0, 1, round(FADE_SECONDS * OUTPUT_SAMPLE_RATE), dtype=np.float32)
    shaped[: len(fade)] *= fade[: len(shaped)]
    shaped[-len(fade) :] *= fade[::-1][-len(shaped) :]
    missing = end - start - len(shaped)
    return np.concatenate([shaped, np.zeros(missing, np.float32)]) if missing > 0 else shaped


def pcm_slices(samples: Samples) -> list[bytes]:
    """int16 little endian PCM in slices of at most SLICE_SECONDS."""
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    step = round(SLICE_SECONDS * OUTPUT_SAMPLE_RATE) * 2
    return [pcm[i : i + step] for i in range(0, len(pcm), step)]


SOFT_PHONEMES = 64  # about 4 s of speech
HARD_PHONEMES = 110  # without any punctuation a longer chunk sounds better than a cut
MIN_PHONEMES = 12  # a shorter chunk sounds clipped

_MARKS = ".!?…;:,—"


def chunks(phonemes: str) -> list[str]:
    """The phonemes in pieces of at most HARD_PHONEMES, cut at punctuation, or else at a space."""
    found = []
    rest = phonemes.strip()
    while len(rest) > SOFT_PHONEMES:
        cut = _after_mark(rest)
        if not cut:
            if len(rest) <= HARD_PHONEMES:
                break
            cut = rest.rfind(" ", MIN_PHONEMES, SOFT_PHONEMES) + 1 or SOFT_PHONEMES
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [piece for piece in [*found, rest] if any(map(str.isalpha, piece))]


def _after_mark(text: str) -> int:
    """The last place right after a mark that leaves two pieces of some length; 0 if none."""
    for i in range(min(SOFT_PHONEMES, len(text) - MIN_PHONEMES) - 1, MIN_PHONEMES, -1):
        if text[i] in _MARKS and text[i + 1 : i + 2] == " ":
            return i + 1
    return 0
