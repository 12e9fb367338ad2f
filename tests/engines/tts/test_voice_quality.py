"""Streamed speech sounds like whole phrases: the bounds of `make bench-voice` on a few phrases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from appliance.engines.tts.audio import AUDIBLE_PEAK
from appliance.engines.tts.engine import KokoroEngine
from appliance.link.engine import OUTPUT_SAMPLE_RATE, TTSSession
from tests.bench.log_spectra import distance_db
from tests.bench.voice import (
    OTHER_SPEED_TO_WHOLE_DB,
    TO_TODAY_DB,
    TO_WHOLE_DB,
    Ways,
    compare,
    engine,
    samples,
    speak,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

# A sound that starts or ends a phrase may be a little louder or fainter than in whole phrases.
LENGTH_TOLERANCE_SECONDS = 0.05


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def whole() -> AsyncIterator[TTSSession]:
    """Return a session of an engine that synthesizes whole phrases."""
    async with engine(streaming=False) as session:
        yield session


@pytest.mark.parametrize(
    ("voice", "text"),
    [
        ("af_heart", "The museum opens at nine."),
        ("am_michael", "Let me check."),
        ("bf_emma", "Could you spell your last name for me, please?"),
        ("bm_george", "It is raining."),
        ("af_heart:2,am_adam:1", "Your package was sent yesterday,"),
        ("af_heart", "Your code is K, 7, Q, 2."),
        ("am_michael", "It is spelled M, E, Y, E, R."),
        # The longest ones differ most, because their pieces are rounded in the most ways.
        ("bm_george", "What a wonderful surprise to meet you here after all these years!"),
    ],
)
async def test_streamed_phrase_is_close_to_the_whole_one(
    engine: KokoroEngine, whole: TTSSession, voice: str, text: str
) -> None:
    pair = await compare(Ways(whole, engine.open()), text, voice)
    assert pair.to_whole_db <= TO_WHOLE_DB
    assert pair.to_today_db <= TO_TODAY_DB
    assert pair.words_streamed == pair.words_whole


@pytest.mark.parametrize(
    ("voice", "text", "speed"),
    [
        ("bf_emma", "Let me check.", 0.5),
        ("af_heart", "A group of fish is", 0.75),
        ("am_michael", "How about Friday?", 1.25),
        ("bf_emma", "The museum opens at nine.", 1.5),
        ("bm_george", "Would you prefer the window?", 2.0),
    ],
)
async def test_speech_at_another_speed_is_close_to_that_of_whole_phrases(
    engine: KokoroEngine, whole: TTSSession, voice: str, text: str, speed: float
) -> None:
    pair = await compare(Ways(whole, engine.open()), text, voice, speed, recognize=False)
    assert pair.to_whole_db <= OTHER_SPEED_TO_WHOLE_DB
    assert pair.to_today_db <= TO_TODAY_DB


@pytest.mark.parametrize("speed", [0.5, 1.0, 1.5, 2.0])
async def test_very_short_phrase_is_as_loud_as_without_streaming(
    engine: KokoroEngine, whole: TTSSession, speed: float
) -> None:
    streamed, expected = [
        samples(await speak(session, "Up", "am_adam", speed)) for session in (engine.open(), whole)
    ]
    assert distance_db(expected, streamed) <= TO_TODAY_DB


@pytest.mark.parametrize("speed", [0.75, 1.5])
async def test_phrase_at_another_speed_is_streamed(engine: KokoroEngine, speed: float) -> None:
    parts = [
        part async for part in engine.open().speak("The museum opens at nine.", "", speed, True)
    ]
    assert len(parts) > 1


@pytest.mark.parametrize(
    ("voice", "text", "speed"),
    [
        ("af_heart", "Three.", 1.0),  # begins long before the padding ends
        ("am_michael", "Sorry?", 1.0),
        ("af_heart", "Thanks.", 0.6),
        ("bf_emma", "Tuesday.", 1.0),  # ends long after the final mark begins
        ("bm_george", "The capital of France is", 1.0),
        ("af_heart", "Chair,", 1.8),
    ],
)
async def test_no_sound_is_lost_at_the_start_or_end_of_a_streamed_phrase(
    engine: KokoroEngine, whole: TTSSession, voice: str, text: str, speed: float
) -> None:
    streamed_seconds = speech_seconds(await speak(engine.open(), text, voice, speed))
    whole_seconds = speech_seconds(await speak(whole, text, voice, speed))
    assert streamed_seconds >= whole_seconds - LENGTH_TOLERANCE_SECONDS


def speech_seconds(pcm: bytes) -> float:
    """Return the time from the first audible sample to the last one."""
    audible = np.flatnonzero(np.abs(samples(pcm)) > AUDIBLE_PEAK)
    return float(audible[-1] - audible[0]) / OUTPUT_SAMPLE_RATE
