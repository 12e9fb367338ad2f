"""Splits phonemes before synthesis and shapes the samples after it.

Long phrases are synthesized in chunks, so that the first audio is available early and synthesis
can be cancelled between chunks. Shaping gives each chunk natural silence at both ends, prevents
clicks and clipping, and converts the samples to PCM. No I/O.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.link.engine import OUTPUT_SAMPLE_RATE

# Chunk lengths, in phonemes.
SOFT_PHONEMES = 64  # about 4 s of speech
HARD_PHONEMES = 110  # up to this length, text without punctuation sounds better in one chunk
MIN_PHONEMES = 12  # shorter chunks sound clipped

LEAD_SECONDS = 0.02  # silence before speech
SENTENCE_PAUSE_SECONDS = 0.25
CLAUSE_PAUSE_SECONDS = 0.12
WORD_PAUSE_SECONDS = 0.04
FADE_SECONDS = 0.005
SLICE_SECONDS = 0.2  # maximum length of a PCM slice
MAX_PEAK = 0.98  # of full scale
AUDIBLE_PEAK = 0.01  # a louder window is speech; silence from the model stays below 0.003
WINDOW = OUTPUT_SAMPLE_RATE // 200  # samples; 5 ms

_MARKS = ".!?…;:,—"

Samples = NDArray[np.float32]  # mono, OUTPUT_SAMPLE_RATE, -1..1


def split_phonemes(phonemes: str) -> list[str]:
    """Split phonemes into chunks of at most HARD_PHONEMES.

    Cuts after punctuation where possible, otherwise at a space. Chunks without a letter are
    dropped.
    """
    chunks = []
    rest = phonemes.strip()
    while len(rest) > SOFT_PHONEMES:
        cut = _last_cut_after_mark(rest)
        if not cut:
            if len(rest) <= HARD_PHONEMES:
                break
            cut = rest.rfind(" ", MIN_PHONEMES, SOFT_PHONEMES) + 1 or SOFT_PHONEMES
        chunks.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [chunk for chunk in [*chunks, rest] if any(map(str.isalpha, chunk))]


def _last_cut_after_mark(text: str) -> int:
    """Return the last position after a mark that leaves MIN_PHONEMES on both sides; 0 if none."""
    for i in range(min(SOFT_PHONEMES, len(text) - MIN_PHONEMES) - 1, MIN_PHONEMES, -1):
        if text[i] in _MARKS and text[i + 1 : i + 2] == " ":
            return i + 1
    return 0


def pause_seconds(phonemes: str) -> float:
    """Return the pause after a chunk, which depends on the punctuation mark at its end."""
    mark = phonemes.rstrip(" \"”“')(")[-1:]
    if mark and mark in ".!?…":
        return SENTENCE_PAUSE_SECONDS
    return CLAUSE_PAUSE_SECONDS if mark and mark in ",;:—" else WORD_PAUSE_SECONDS


def shape(samples: Samples, pause: float) -> Samples:
    """Limit the peak, and trim or pad the silence around the speech.

    The silence lasts LEAD_SECONDS before the speech and `pause` seconds after it. Returns an empty
    array for samples without speech.
    """
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    windows = np.abs(samples[: len(samples) // WINDOW * WINDOW]).reshape(-1, WINDOW).max(axis=1)
    speech = np.flatnonzero(windows > AUDIBLE_PEAK)
    if not len(speech):
        return np.zeros(0, np.float32)
    start = max(0, int(speech[0]) * WINDOW - round(LEAD_SECONDS * OUTPUT_SAMPLE_RATE))
    speech_end = (int(speech[-1]) + 1) * WINDOW
    end = speech_end + round(pause * OUTPUT_SAMPLE_RATE)
    shaped = samples[start:end].astype(np.float32)
    peak = float(np.abs(shaped).max())
    if peak > MAX_PEAK:
        shaped *= MAX_PEAK / peak
    fade = np.linspace(0, 1, round(FADE_SECONDS * OUTPUT_SAMPLE_RATE), dtype=np.float32)
    shaped[: len(fade)] *= fade[: len(shaped)]
    shaped[-len(fade) :] *= fade[::-1][-len(shaped) :]
    missing = end - start - len(shaped)
    return np.concatenate([shaped, np.zeros(missing, np.float32)]) if missing > 0 else shaped


def pcm_slices(samples: Samples) -> list[bytes]:
    """Convert to little endian int16 PCM, in slices of at most SLICE_SECONDS."""
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    step = round(SLICE_SECONDS * OUTPUT_SAMPLE_RATE) * 2
    return [pcm[i : i + step] for i in range(0, len(pcm), step)]
