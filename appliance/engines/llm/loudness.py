"""Where in a piece of audio something was said, judged by loudness alone; pure.

The gateway's speech detector has already judged the audio; this only keeps the recognizer from
working on (and inventing words for) silence, and finds pauses to cut at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE = 16_000  # Hz
FRAME = 320  # samples, 20 ms
SILENT_RMS = 0.0018  # -55 dBFS: below this a microphone hears its room, not a speaker
SILENT_RATIO = 0.04  # -28 dB under the loudest frame: a pause, at any volume
LEAST_SPEECH_SECONDS = 0.1  # a click is shorter, "yes" longer
# Loud frames of speech differ in level by far more than this, of noise, hum and tones by less.
STEADY_RATIO = 1.5
MARGIN_SECONDS = 0.2  # kept around speech; a consonant may be quieter than a pause

SOFT_SECONDS = 5.0  # so much unheard audio is cut at a pause,
HARD_SECONDS = 9.0  # so much at its quietest place in any case
SHORTEST_CUT_SECONDS = 2.0  # a shorter piece lacks the context that words are recognised by
PAUSE_FRAMES = 8  # 160 ms: the gap between two words in which a cut does no harm
PAUSE_RATIO = 0.15  # quieter than this part of the loud frames' level it is a gap


def frame_rms(samples: Samples) -> Samples:
    """The level of each whole 20 ms frame, 0..1."""
    count = len(samples) // FRAME
    frames = samples[: count * FRAME].reshape(count, FRAME)
    levels: Samples = np.sqrt(np.mean(np.square(frames), axis=1))
    return levels


def speech_span(samples: Samples, loudest: float = 0.0) -> tuple[int, int] | None:
    """First and last sample of what may be speech, with a margin; None when nothing is.

    `loudest` is the loudest frame of the same utterance heard earlier, so that the noise between
    its parts is not taken for speech.
    """
    levels = frame_rms(samples)
    if not len(levels):
        return None
    threshold = max(SILENT_RMS, SILENT_RATIO * max(loudest, float(levels.max())))
    loud = np.flatnonzero(levels > threshold)
    if len(loud) * FRAME < LEAST_SPEECH_SECONDS * RATE:
        return None
    low, high = np.percentile(levels[loud], (10, 90))
    if high < STEADY_RATIO * low:
        return None
    margin = int(MARGIN_SECONDS * RATE)
    start, end = int(loud[0]) * FRAME - margin, (int(loud[-1]) + 1) * FRAME + margin
    return max(0, start), min(len(samples), end)


def cut_point(samples: Samples) -> int | None:
    """Where to cut off a piece that can be recognised on its own; None when it is too early."""
    seconds = len(samples) / RATE
    if seconds < SOFT_SECONDS:
        return None
    levels = frame_rms(samples)
    window = np.convolve(levels, np.full(PAUSE_FRAMES, 1 / PAUSE_FRAMES), "valid")
    first = int(SHORTEST_CUT_SECONDS * RATE) // FRAME
    quietest = first + int(window[first:].argmin())
    loud = float(np.percentile(levels, 80))
    if window[quietest] > PAUSE_RATIO * loud and seconds < HARD_SECONDS:
        return None
    return (quietest + PAUSE_FRAMES // 2) * FRAME
