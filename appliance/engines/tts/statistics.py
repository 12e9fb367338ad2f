"""Predicts the statistics that the vocoder normalizes with, before the phrase is vocoded. No I/O.

Kokoro's vocoder normalizes each channel by its mean and variance over the whole phrase. To vocode a
phrase in chunks, these values have to be known in advance. Those of a chunk itself do not fit: the
log-spectral distance to the whole phrase is then 6 to 16 dB (measured). They differ little between
the phrases of one voice, and most of the difference is explained by the share of the silence around
the words: its lead, whose length varies, and its end, which is nearly constant. So two moments of
each channel are a linear function of

    1,   lead_frames / frames,   REFERENCE_FRAMES / frames

with three coefficients for each moment, channel and voice. The moments are the mean, and the mean
square of the distance to a reference, which is the first coefficient of the mean. (The mean square
itself would be a small difference of large numbers, of which float16 keeps nothing.) The
coefficients are fitted to the phrases in ops/bundle/calibration.py, at speeds of 0.6 to 1.8, and
sealed with the model files. The speed as another feature explains nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES, MOMENTS, CHANNELS = 3, 2, 8448
REFERENCE_FRAMES = 20  # 0.25 s; makes the third feature about as large as the second
EPSILON = 1e-5  # added to variances, as in the model
# What can be predicted: the speeds that the engine offers, and phrases that are not shorter than
# the shortest one of the fit at a speed of 1. Of those shorter, "Up" is 11 to 23 dB from the whole
# phrase at this speed (52 to 60 frames); at 2, with 28 frames, its peak is 160000 times too high.
MIN_SPEED, MAX_SPEED, MIN_FRAMES = 0.5, 2.0, 72
# A predicted variance is at least this; a smaller one would amplify noise.
MIN_VARIANCE, MIN_VARIANCE_RATIO = 1e-4, 0.1  # the second relative to the first coefficient

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NormStatistics:
    """The statistics of one phrase, as inputs of the vocoder; each has the shape 1 x CHANNELS x 1.

    inverse_deviations  1 / sqrt(variance + EPSILON)
    offsets             mean / sqrt(variance + EPSILON)
    """

    inverse_deviations: Floats
    offsets: Floats


def features(lead_frames: float, frames: int) -> Floats:
    """Return what the moments of a phrase depend on."""
    return np.array([1.0, lead_frames / frames, REFERENCE_FRAMES / frames], np.float32)


def is_predictable(speed: float, frames: int) -> bool:
    """Return whether the phrases used for the fit were like one of this speed and length.

    A prediction beyond them is too small for some channels, which then grow from layer to layer.
    `frames` counts at this speed: a slow phrase has to be longer.
    """
    return MIN_SPEED <= speed <= MAX_SPEED and frames * min(speed, 1.0) >= MIN_FRAMES


def predict(coefficients: Floats, lead_frames: float, frames: int) -> NormStatistics:
    """Return the statistics of a phrase of `frames`, the first `lead_frames` of them silent.

    `coefficients` has the shape FEATURES x MOMENTS x CHANNELS.
    """
    mean, square = np.tensordot(features(lead_frames, frames), coefficients, 1)
    reference, least = coefficients[0, 0], MIN_VARIANCE_RATIO * coefficients[0, 1]
    variance = np.maximum(square - np.square(mean - reference), np.maximum(least, MIN_VARIANCE))
    inverse = (1 / np.sqrt(variance + EPSILON)).astype(np.float32)
    offsets = (mean * inverse).astype(np.float32)
    return NormStatistics(inverse[None, :, None], offsets[None, :, None])


def fit(phrases: Floats, means: Floats, variances: Floats) -> Floats:
    """Return the coefficients that fit measured statistics best, by least squares.

    phrases           the `features` of each phrase: phrases x FEATURES
    means, variances  of each channel: phrases x CHANNELS
    """
    rows = phrases.astype(np.float64)
    mean, *_ = np.linalg.lstsq(rows, means.astype(np.float64), rcond=None)
    reference = mean[0].astype(np.float16)  # as it will be read
    squares = variances + np.square(means.astype(np.float64) - reference)
    square, *_ = np.linalg.lstsq(rows, squares, rcond=None)
    return np.stack([mean, square], axis=1).astype(np.float32)


def to_bytes(coefficients: Floats) -> bytes:
    """Return the content of a statistics file: little endian float16."""
    return coefficients.astype("<f2").tobytes()


def from_bytes(raw: bytes, channels: int = CHANNELS) -> Floats:
    """Read a statistics file. Raises ValueError if it has another size."""
    expected = FEATURES * MOMENTS * channels * 2
    if len(raw) != expected:
        raise ValueError(f"{len(raw)} bytes instead of {expected}")
    values = np.frombuffer(raw, "<f2").astype(np.float32)
    return values.reshape(FEATURES, MOMENTS, channels)
