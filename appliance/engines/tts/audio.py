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

MARKS = ".!?…;:,—"  # phonemes that are a pause
_LEAD_SAMPLES = round(LEAD_SECONDS * OUTPUT_SAMPLE_RATE)
_FADE_SAMPLES = round(FADE_SECONDS * OUTPUT_SAMPLE_RATE)
_FADE = np.linspace(0, 1, _FADE_SAMPLES, dtype=np.float32)

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
        if text[i] in MARKS and text[i + 1 : i + 2] == " ":
            return i + 1
    return 0


def pause_seconds(phonemes: str) -> float:
    """Return the pause after a chunk, which depends on the punctuation mark at its end."""
    mark = phonemes.rstrip(" \"”“')(")[-1:]
    if mark and mark in ".!?…":
        return SENTENCE_PAUSE_SECONDS
    return CLAUSE_PAUSE_SECONDS if mark and mark in ",;:—" else WORD_PAUSE_SECONDS


class SpeechShaper:
    """Trims or pads the silence around streamed speech, limits its peak and avoids clicks.

    The silence lasts LEAD_SECONDS before the speech and `pause` seconds after it. Samples without
    speech yield nothing.
    """

    def __init__(self, pause: float) -> None:
        self._pause_samples = round(pause * OUTPUT_SAMPLE_RATE)
        # The end of the speech, which may have to fade out, and the silence after it.
        self._held = np.zeros(0, np.float32)
        self._held_speech = 0  # samples of speech at the start of `_held`
        self._started = False
        self._gain = 1.0

    def add(self, samples: Samples) -> Samples:
        """Add the next samples. Return those that can already be played."""
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
        samples = np.concatenate([self._held, samples])
        windows = np.abs(samples[: len(samples) // WINDOW * WINDOW]).reshape(-1, WINDOW).max(axis=1)
        audible = np.flatnonzero(windows > AUDIBLE_PEAK)
        if not len(audible):
            self._held = samples if self._started else samples[-_LEAD_SAMPLES:]
            return np.zeros(0, np.float32)
        end = (int(audible[-1]) + 1) * WINDOW
        start = 0 if self._started else max(0, int(audible[0]) * WINDOW - _LEAD_SAMPLES)
        stop = max(start, end - _FADE_SAMPLES)
        self._held, self._held_speech = samples[stop:], end - stop
        speech = self._limit(samples[start:stop])
        if not self._started:
            self._started = True
            speech[:_FADE_SAMPLES] *= _FADE[: len(speech)]
        return speech

    def finish(self) -> Samples:
        """Return the end of the speech and the pause after it; empty if there was no speech."""
        if not self._started:
            return np.zeros(0, np.float32)
        end = np.zeros(self._held_speech + self._pause_samples, np.float32)
        rest = self._held[: len(end)] * self._gain
        fade = _FADE[::-1][-len(rest) :]
        rest[-len(fade) :] *= fade
        end[: len(rest)] = rest
        return end

    def _limit(self, speech: Samples) -> Samples:
        """Return the speech with a gain that keeps its peak below MAX_PEAK.

        The gain never rises within a phrase. It falls over FADE_SECONDS, unless nothing was played.
        """
        peak = float(np.abs(speech).max(initial=0.0))
        gain = min(self._gain, MAX_PEAK / peak) if peak > 0 else self._gain
        gains = np.full(len(speech), gain, np.float32)
        if self._started and gain < self._gain:
            ramp = self._gain + (gain - self._gain) * _FADE
            gains[: len(ramp)] = ramp[: len(gains)]
        self._gain = gain
        return np.asarray(speech * gains, np.float32)


def pcm_slices(samples: Samples) -> list[bytes]:
    """Convert to little endian int16 PCM, in slices of at most SLICE_SECONDS."""
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    step = round(SLICE_SECONDS * OUTPUT_SAMPLE_RATE) * 2
    return [pcm[i : i + step] for i in range(0, len(pcm), step)]
