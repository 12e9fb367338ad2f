"""Find speech and pauses in audio by loudness alone. No I/O.

The gateway's voice activity detector has already accepted the audio. This module skips silence,
for which a recognizer would invent words, and finds pauses at which long speech can be cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance.link.engine import INPUT_SAMPLE_RATE

Samples = npt.NDArray[np.float32]

FRAME = 320  # samples, 20 ms
# Level of the quietest speech, -65 dBFS. The quiet sounds of a caller at -45 dBFS are there. Room
# noise may be louder: it is excluded because it is steady, or much quieter than the speech.
SILENT_RMS = 0.00056
SILENT_RATIO = 0.04  # 28 dB below the loudest frame: a pause, at any volume
MIN_SPEECH_SECONDS = 0.1  # a click is shorter, "yes" is longer
# Minimum ratio of the levels of loud frames in speech: 1.46 and more in 330 recordings of letters,
# digits and words ("n" varies least). Tones have 1.0 to 1.06, and white noise 1.1.
STEADY_RATIO = 1.25
SPEECH_RMS = 0.14  # -17 dBFS, the level to which speech is scaled for a recognizer
# Parts of speech that are this much quieter than its loudest frame do not count for its level.
ACTIVE_RATIO = 0.03
MAX_GAIN = 100.0  # 40 dB
MAX_PEAK = 0.99  # of full scale
MARGIN_SECONDS = 0.2  # kept on both sides of speech; a consonant may be quieter than a pause

SOFT_CUT_SECONDS = 10.0  # audio of at least this length is cut at a pause
HARD_CUT_SECONDS = 15.0  # audio of at least this length is cut at its quietest point
MIN_CUT_SECONDS = 4.0  # shorter segments lack context for recognizing words
PAUSE_FRAMES = 8  # 160 ms: a gap between words that is safe to cut
PAUSE_RATIO = 0.15  # maximum level of a gap, relative to the loud frames


def frame_rms(samples: Samples) -> Samples:
    """Return the RMS level (0..1) of each complete 20 ms frame, without its DC offset."""
    count = len(samples) // FRAME
    levels: Samples = samples[: count * FRAME].reshape(count, FRAME).std(axis=1)
    return levels


def remove_offset(samples: Samples) -> Samples:
    """Return samples without their DC offset, the mean of the whole."""
    return samples - samples.mean(dtype=np.float64).astype(np.float32) if len(samples) else samples


def scale_speech(samples: Samples) -> Samples:
    """Return samples with their speech at SPEECH_RMS, without a DC offset.

    Recognizers are trained on speech of this level. Speech that is 15 dB quieter is misheard.
    """
    samples = remove_offset(samples)
    levels = frame_rms(samples)
    loudest = float(levels.max(initial=0.0))
    if loudest == 0.0:
        return samples
    active = levels[levels > ACTIVE_RATIO * loudest]
    gain = SPEECH_RMS / float(np.sqrt(np.mean(np.square(active))))
    peak = float(np.abs(samples).max())
    return samples * np.float32(min(gain, MAX_GAIN, max(1.0, MAX_PEAK / peak)))


def find_speech(samples: Samples, loudest: float = 0.0) -> tuple[int, int] | None:
    """Return the start and end sample of speech, with a margin; None if there is no speech.

    `loudest` is the RMS of the loudest earlier frame of the utterance. It prevents noise between
    loud words from being classified as speech.
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
    """Return the sample at which to cut, so that the first part can be recognized on its own.

    Returns None if the audio is still short, or if waiting for a pause is better.
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
