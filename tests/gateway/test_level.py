"""Voice far below the caller's level is another speaker's."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.gateway.level import WINDOW_SECONDS, CallerLevel, level_dbfs

WINDOW = 512


def window(dbfs: float) -> bytes:
    amplitude = 32768 * 10 ** (dbfs / 20)
    return bytes(np.full(WINDOW, amplitude).astype("<i2").tobytes())


def say(level: CallerLevel, dbfs: float, seconds: float, speaking: bool = True) -> float:
    """Return the share of windows that were accepted."""
    count = round(seconds / WINDOW_SECONDS)
    return sum(level.accepts(window(dbfs), speaking) for _ in range(count)) / count


def pause(level: CallerLevel, seconds: float = 1.0) -> None:
    for _ in range(round(seconds / WINDOW_SECONDS)):
        level.silence()


@pytest.mark.parametrize("dbfs", [-6, -40, -60])
def test_level_in_dbfs(dbfs: float) -> None:
    assert level_dbfs(window(dbfs)) == pytest.approx(dbfs, abs=0.5)


def test_first_speech_of_a_session_is_accepted_at_any_level() -> None:
    assert say(CallerLevel(), -50, 3.0, speaking=False) == 1.0


def test_other_speaker_far_below_the_caller_is_not_accepted() -> None:
    level = CallerLevel()
    say(level, -20, 3.0)
    pause(level)
    assert say(level, -47, 10.0, speaking=False) == 0.0
    assert say(level, -20, 1.0) == 1.0, "the caller still is"


def test_caller_who_speaks_softer_is_accepted() -> None:
    level = CallerLevel()
    say(level, -20, 3.0)
    pause(level)
    assert say(level, -34, 3.0, speaking=False) == 1.0


def test_caller_who_moves_away_is_heard_again() -> None:
    level = CallerLevel()
    say(level, -20, 3.0)
    pause(level)
    assert say(level, -40, 3.0, speaking=False) == 0.0
    say(level, -40, 25.0, speaking=False)
    assert say(level, -40, 3.0, speaking=False) == 1.0


def test_soft_end_of_a_word_is_accepted() -> None:
    level = CallerLevel()
    say(level, -20, 3.0)
    assert say(level, -45, 0.3) == 1.0
