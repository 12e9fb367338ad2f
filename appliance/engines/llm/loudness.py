"""Find speech and pauses in audio by loudness alone. No I/O.

The gateway's voice activity detector has accepted the audio already. This only keeps a recognizer
from working on silence (and inventing words for it), and finds pauses to cut long speech at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance.link.engine import INPUT_SAMPLE_RATE

Samples = npt.NDArray[np.float32]

FRAME = 320  # samples, 20 ms
SILENT_RMS = 0.0018  # -55 dBFS: quieter frames hold the noise of the room, not a speaker
SILENT_RATIO = 0.04  # -28 dB below the loudest frame: a pause, at any volume
MIN_SPEECH_SECONDS = 0.1  # a click is shorter, "yes" is longer
# Loud frames of speech differ in level by more than this; those of noise, hum and tones by less.
STEADY_RATIO = 1.5
MARGIN_SECONDS = 0.2  # kept on both sides of speech; a consonant may be quieter than a pause

SOFT_CUT_SECONDS = 5.0  # from this length on, audio is cut at a pause
HARD_CUT_SECONDS = 9.0  # from this length on, audio is cut at its quietest place in any case
MIN_CUT_SECONDS = 2.0  # a shorter piece lacks the context by which words are recognized
PAUSE_FRAMES = 8  # 160 ms: a gap between words that is safe to cut
PAUSE_RATIO = 0.15  # a gap is quieter than this fraction of the level of the loud frames


def frame_rms(samples: Samples) -> Samples:
    """The RMS level of each whole 20 ms frame, 0..1."""
    count = len(samples) // FRAME
    frames = samples[: count * FRAME].reshape(count, FRAME)
    levels: Samples = np.sqrt(np.mean(np.square(frames), axis=1))
    return levels


def find_speech(samples: Samples, loudest: float = 0.0) -> tuple[int, int] | None:
    """First and last sample that may be speech, with a margin; None without any.

    `loudest` is the RMS of the loudest frame heard earlier in the same utterance. It keeps noise
    between loud words from being taken for speech.
    """
    levels = frame_rms(samples)
    if not len(levels):
        return None
    threshold = max(SILENT_RMS, SILENT_RATIO * max(loudest, float(levels.max())))
    loud = np.flatnonzero(levels > threshold)
    if len(loud) * FRAME < MIN_SPEECH_SECONDS * INPUT_SAMPLE_RATE:
        return None
    low, high = np.percentile(levels[loud], (10, 90))
    if high < STEADY_RATIO * low:
        return None
    margin = int(MARGIN_SECONDS * INPUT_SAMPLE_RATE)
    start, end = int(loud[0]) * FRAME - margin, (int(loud[-1]) + 1) * FRAME + margin
    return max(0, start), min(len(samples), end)


def find_cut(samples: Samples) -> int | None:
    """The sample to cut at, so that the first part can be recognized on its own.

    None while the audio is short, or while it is worth waiting for a pause.
    """
    seconds = len(samples) / INPUT_SAMPLE_RATE
    if seconds < SOFT_CUT_SECONDS:
        return None
    levels = frame_rms(samples)
    window = np.convolve(levels, np.full(PAUSE_FRAMES, 1 / PAUSE_FRAMES), "valid")
    first = int(MIN_CUT_SECONDS * INPUT_SAMPLE_RATE) // FRAME
    quietest = first + int(window[first:].argmin())
    loud = float(np.percentile(levels, 80))
    if window[quietest] > PAUSE_RATIO * loud and seconds < HARD_CUT_SECONDS:
        return None
    return (quietest + PAUSE_FRAMES // 2) * FRAME
