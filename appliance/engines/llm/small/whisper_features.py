"""Whisper's features: the levels of 80 mel bands, 100 times a second. No I/O."""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.engines.llm.loudness import Samples
from appliance.link.engine import INPUT_SAMPLE_RATE

WINDOW_SECONDS: Final = 10
FRAME_RATE: Final = 100  # of the features; an encoder state covers two frames
FFT_SIZE: Final = 400
HOP: Final = INPUT_SAMPLE_RATE // FRAME_RATE
BANDS: Final = 80
MIN_POWER: Final = 1e-10
DYNAMIC_RANGE: Final = 8.0  # of the features, in powers of ten


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
