"""The level of voice, to tell a speaker far away from the caller. No I/O, no clock.

`StartLevel` rejects voice that is too soft for any caller. `CallerLevel` learns the level of the
caller's voice from speech that was accepted, and rejects voice far below it: a colleague, a
television. Until the caller has spoken for a while, it rejects nothing. A caller who moves away is
heard again: voice that is rejected for some seconds lowers the level step by step.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

WINDOW_SECONDS = 0.032
BELOW_CALLER_DB = 18.0  # voice this far below the caller's level is another speaker's
MIN_VOICE_SECONDS = 1.0  # of the caller's voice, before anything is rejected
RISE = 0.10  # of the difference, per window of louder voice: about 0.3 s
FALL = 0.005  # of the difference, per window of softer voice: about 6 s; docs/turn-taking.md
FORGET_DB_PER_SECOND = 0.1  # of rejected voice: a caller who has moved away is heard again
PEAK_FALL_DB = 1.0  # per window: the level of voice is that of its latest loud syllable
SILENCE_DBFS = -90.0
START_WINDOWS = 12  # 0.4 s: the latest voice, whose mean level decides whether it starts a turn


def level_dbfs(pcm: bytes) -> float:
    """Return the level of int16 PCM, in dB relative to full scale; -90 for digital silence."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    mean_square = float(samples @ samples) / len(samples) if len(samples) else 0.0
    return max(SILENCE_DBFS, 10 * math.log10(mean_square / 32768**2 + 1e-12))


class StartLevel:
    """Tells whether voice is loud enough to start speech. One per session.

    The level is the mean power of the latest voice, up to 0.4 s of it: single windows of a soft
    voice may be loud.
    """

    def __init__(self, min_dbfs: float) -> None:
        self._min_dbfs = min_dbfs
        self._min_power = 10 ** (min_dbfs / 10)
        self._powers: deque[float] = deque(maxlen=START_WINDOWS)
        self.windows = 0  # of voice without a pause

    def voice(self, pcm: bytes) -> None:
        """Note a window of voice."""
        self._powers.append(10 ** (level_dbfs(pcm) / 10))
        self.windows += 1

    def silence(self) -> None:
        """Note a window without voice."""
        self._powers.clear()
        self.windows = 0

    def may_start(self, pcm: bytes) -> bool:
        """Return whether speech may start at a window, if no voice was before it."""
        return level_dbfs(pcm) >= self._min_dbfs

    @property
    def is_loud_enough(self) -> bool:
        """Whether the latest voice may start speech."""
        return sum(self._powers) >= self._min_power * max(1, len(self._powers))

    @property
    def is_too_soft(self) -> bool:
        """Whether the voice has been too soft, and long enough, not to be a caller's."""
        return len(self._powers) == START_WINDOWS and not self.is_loud_enough


class CallerLevel:
    """Tells whether voice is too far below the caller's. One per session."""

    def __init__(self) -> None:
        self._dbfs: float | None = None  # of the caller's voice, near its loud parts
        self._peak_dbfs = SILENCE_DBFS
        self._voice_seconds = 0.0

    def accepts(self, pcm: bytes, speaking: bool) -> bool:
        """Return whether a window of voice may be the caller's.

        `speaking` tells that the window belongs to speech that was already accepted. The soft end
        of a word is not another speaker.
        """
        level = level_dbfs(pcm)
        if self._dbfs is None:
            self._dbfs = level
        known = self._voice_seconds >= MIN_VOICE_SECONDS
        self._peak_dbfs = max(level, self._peak_dbfs - PEAK_FALL_DB)
        if known and not speaking and self._peak_dbfs < self._dbfs - BELOW_CALLER_DB:
            self._dbfs -= FORGET_DB_PER_SECOND * WINDOW_SECONDS
            return False
        if speaking:
            self._voice_seconds += WINDOW_SECONDS
            change = self._peak_dbfs - self._dbfs
            self._dbfs += (RISE if change > 0 else FALL) * change
        return True

    def silence(self) -> None:
        """Note a window without voice."""
        self._peak_dbfs = max(SILENCE_DBFS, self._peak_dbfs - PEAK_FALL_DB)
