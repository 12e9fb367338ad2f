"""How different two recordings of the same phrase sound: log-spectral distance in dB. No I/O.

For scale, measured with four phrases of Kokoro's voice af_heart: the same model with its operations
in another order (fused normalizations) is at 2.9 to 3.3 dB, because the int8 model rounds; noise at
30 dB SNR at 6.5 to 7.5; another voice at 11 to 17; another text at 19 to 22. Faint high frequencies
make up most of a small distance: with a floor of -60 instead of -80 dB, the first is 1.6 to 2.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.engines.tts.audio import AUDIBLE_PEAK

FRAME_SAMPLES, HOP_SAMPLES = 1024, 256  # at 24 kHz: 43 ms and 11 ms
FLOOR_DB = -80.0  # relative to the loudest bin of the reference; fainter bins count as this
# A faint click in the silence before the words makes one of two recordings begin earlier, by up to
# 0.1 s (seen). Their loudness over time tells about where they fit; then all shifts near are tried.
MAX_OFFSET_SAMPLES = 6000  # 0.25 s
MAX_SHIFT_SAMPLES, SHIFT_STEP_SAMPLES = 1200, 60  # 50 ms, and 2.5 ms

Samples = NDArray[np.float32]
_Frames = NDArray[np.float64]


def distance_db(reference: Samples, other: Samples) -> float:
    """Return the log-spectral distance, by frame the root mean square over all bins.

    The mean is over the frames in which the reference has speech, louder than AUDIBLE_PEAK. `other`
    is shifted to where it fits best, because the two have not the same silence before the speech.
    What `other` lacks at its start or end counts as silence. Raises ValueError if the reference has
    no speech.
    """
    frames = _frames(reference)
    audible = np.abs(frames).max(axis=1) > AUDIBLE_PEAK
    if not audible.any():
        raise ValueError("the reference has no speech")
    spectrum_db = _power_db(frames)[audible]
    peak_db = float(spectrum_db.max())
    expected = np.maximum(spectrum_db - peak_db, FLOOR_DB)
    return min(
        _mean_distance(expected, np.maximum(_power_db(_frames(moved)[audible]) - peak_db, FLOOR_DB))
        for moved in _shifted(other, len(reference), offset(reference, other))
    )


def offset(reference: Samples, other: Samples) -> int:
    """Return by how many samples `other` has to be delayed to be loud where the reference is."""
    first, second = _loudness(reference), _loudness(other)
    if not len(second):
        return 0
    alike = np.correlate(first, second, "full")
    delays = np.arange(len(alike)) - (len(second) - 1)
    near = np.abs(delays) * SHIFT_STEP_SAMPLES <= MAX_OFFSET_SAMPLES
    return int(delays[near][alike[near].argmax()]) * SHIFT_STEP_SAMPLES


def _shifted(samples: Samples, length: int, delay: int) -> list[Samples]:
    """Return `samples` at all shifts near `delay`, each cut or padded to `length`."""
    most = MAX_OFFSET_SAMPLES + MAX_SHIFT_SAMPLES
    padded = np.zeros(length + 2 * most, np.float32)
    part = samples[: length + most]
    padded[most : most + len(part)] = part
    shifts = range(-MAX_SHIFT_SAMPLES, MAX_SHIFT_SAMPLES + 1, SHIFT_STEP_SAMPLES)
    starts = [most - delay + shift for shift in shifts]
    return [padded[start : start + length] for start in starts]


def _loudness(samples: Samples) -> _Frames:
    """Return the root mean square of each SHIFT_STEP_SAMPLES."""
    blocks = samples[: len(samples) // SHIFT_STEP_SAMPLES * SHIFT_STEP_SAMPLES]
    squares = np.square(blocks.astype(np.float64)).reshape(-1, SHIFT_STEP_SAMPLES)
    return np.asarray(np.sqrt(squares.mean(axis=1)), np.float64)


def _frames(samples: Samples) -> _Frames:
    """Return windowed frames, with half a frame of silence before and after the samples."""
    padded = np.pad(samples.astype(np.float64), FRAME_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::HOP_SAMPLES]
    return np.asarray(frames * np.hanning(FRAME_SAMPLES), np.float64)


def _power_db(frames: _Frames) -> _Frames:
    return np.asarray(20 * np.log10(np.maximum(np.abs(np.fft.rfft(frames)), 1e-9)), np.float64)


def _mean_distance(first: _Frames, second: _Frames) -> float:
    return float(np.sqrt(np.square(first - second).mean(axis=1)).mean())
