"""Voice far below the caller's level is another speaker's."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.gateway.turns.level import (
    START_WINDOWS,
    WINDOW_SECONDS,
    CallerLevel,
    StartLevel,
    level_dbfs,
)

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


def test_other_speaker_who_was_accepted_once_is_not_the_caller_yet() -> None:
    level = CallerLevel()
    say(level, -20, 3.0)
    pause(level)
    say(level, -36, 0.1)  # a loud syllable, and the rest of the sentence after it
    say(level, -47, 2.4)
    pause(level)
    assert say(level, -47, 3.0, speaking=False) == 0.0


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


def test_soft_caller_may_start_speech_and_a_speaker_far_away_may_not() -> None:
    for dbfs, expected in ((-20, True), (-40, True), (-44, True), (-46, False), (-50, False)):
        level = StartLevel(min_dbfs=-45)
        for _ in range(4):
            level.voice(window(dbfs))
        assert level.is_loud_enough is expected
        assert not level.is_too_soft, "it may become louder"


def test_one_loud_window_does_not_make_a_far_speaker_a_caller() -> None:
    level = StartLevel(min_dbfs=-45)
    for dbfs in (-52, -52, -44, -52, -52):
        level.voice(window(dbfs))
    assert not level.is_loud_enough


def test_voice_that_stays_too_soft_is_rejected_until_it_is_louder() -> None:
    level = StartLevel(min_dbfs=-45)
    for _ in range(START_WINDOWS):
        assert not level.is_too_soft
        level.voice(window(-50))
    assert level.is_too_soft
    for _ in range(6):
        level.voice(window(-40))
    assert level.is_loud_enough and not level.is_too_soft


def test_voice_before_a_pause_does_not_count() -> None:
    level = StartLevel(min_dbfs=-45)
    level.voice(window(-20))
    level.silence()
    assert level.windows == 0
    level.voice(window(-50))
    assert level.windows == 1 and not level.is_loud_enough
