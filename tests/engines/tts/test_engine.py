"""The engine on the real model: intelligible speech, scheduling, cancellation, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.engines.tts.audio import LEAD_SECONDS, SLICE_SECONDS
from appliance.engines.tts.engine import KokoroEngine
from appliance.errors import BadLexicon, MissingWeights, UnknownVoice
from appliance.link.engine import OUTPUT_SAMPLE_RATE, TTSSession
from appliance.settings import PathsConfig, Settings, TTSConfig
from tests.link.contract import VoiceContract
from tests.recognizer import word_error_rate, words

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = (
    "The library opens at nine in the morning, and it closes at six in the evening; on Sundays it "
    "stays closed all day long, but the reading room may be used by anyone who has a key."
)


async def synthesize(
    session: TTSSession, text: str, voice: str = "", speed: float = 1.0, urgent: bool = False
) -> np.ndarray:
    pcm = [part async for part in session.speak(text, voice, speed, urgent)]
    return np.frombuffer(b"".join(pcm), dtype="<i2")


def metric(engine: KokoroEngine, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(engine.metrics().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise KeyError(name)


class TestKokoroEngineBehindTheLink(VoiceContract):
    """The contract tests that every TTS engine must pass."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there, how are you today?", "hello there how are you today"),
        ("**Dr. Smith** will see you now 😀.", "doctor smith will see you now"),
        ("It costs $3.50 at the door.", "it costs three dollars and fifty cents at the door"),
        ("The train leaves at 3:30 PM.", "the train leaves at three thirty pm"),
        ("Please visit www.example.com for more.", "please visit example dot com for more"),
        ("About 50% of them live in Paris.", "about fifty percent of them live in paris"),
    ],
)
async def test_speech_recognizer_returns_the_expected_words(
    engine: KokoroEngine, text: str, expected: str
) -> None:
    transcript = words(await synthesize(engine.open(), text), OUTPUT_SAMPLE_RATE)
    for written, spoken in (
        ("dr ", "doctor "),
        ("3 50", "three dollars and fifty cents"),
        ("3 30", "three thirty"),
        ("330", "three thirty"),
        ("p m", "pm"),
        ("50 ", "fifty "),
        ("example com", "example dot com"),
    ):
        transcript = transcript.replace(written, spoken)
    assert word_error_rate(expected, transcript) <= 0.25, transcript


async def test_phrase_of_several_chunks_is_spoken_completely(engine: KokoroEngine) -> None:
    assert (
        word_error_rate(LONG, words(await synthesize(engine.open(), LONG), OUTPUT_SAMPLE_RATE))
        <= 0.12
    )


async def test_audio_arrives_in_short_slices_without_clipping_or_clicks(
    engine: KokoroEngine,
) -> None:
    parts = [part async for part in engine.open().speak("Good morning.", "", 1.0, True)]
    assert all(0 < len(part) <= SLICE_SECONDS * OUTPUT_SAMPLE_RATE * 2 for part in parts)
    assert all(len(part) % 2 == 0 for part in parts)
    pcm = np.frombuffer(b"".join(parts), dtype="<i2").astype(int)
    assert np.abs(pcm).max() < 32767
    assert abs(pcm[0]) < 100
    assert abs(pcm[-1]) < 100


async def test_speech_has_short_leading_silence_and_a_pause_that_fits_its_punctuation(
    engine: KokoroEngine,
) -> None:
    sentence = await synthesize(engine.open(), "Good morning.")
    clause = await synthesize(engine.open(), "Good morning,")
    for pcm, pause_seconds in ((sentence, 0.25), (clause, 0.12)):
        loud = np.flatnonzero(np.abs(pcm.astype(int)) > 330)
        assert loud[0] / OUTPUT_SAMPLE_RATE <= LEAD_SECONDS + 0.01
        after = (len(pcm) - loud[-1]) / OUTPUT_SAMPLE_RATE
        assert pause_seconds - 0.01 <= after <= pause_seconds + 0.01


async def test_text_without_words_yields_no_audio_and_is_counted(engine: KokoroEngine) -> None:
    before = metric(engine, "voice_tts_phrases_total", outcome="nothing_to_say")
    for text in ("", "😀", "***", "…", "你好"):
        assert len(await synthesize(engine.open(), text)) == 0
    after = metric(engine, "voice_tts_phrases_total", outcome="nothing_to_say")
    assert after - before == 5


async def test_unknown_voice_is_rejected_and_the_next_phrase_is_spoken(
    engine: KokoroEngine,
) -> None:
    session = engine.open()
    with pytest.raises(UnknownVoice, match="af_heart"):
        await synthesize(session, "Hello.", voice="zz_nobody")
    assert len(await synthesize(session, "Hello.")) > 0


async def test_voice_blends_british_voices_and_other_speeds_are_intelligible(
    engine: KokoroEngine,
) -> None:
    session = engine.open()
    plain = await synthesize(session, "Show me the garden.")
    for voice, speed in (("af_heart:2,am_adam:1", 1.0), ("bf_emma", 1.0), ("", 1.5)):
        pcm = await synthesize(session, "Show me the garden.", voice, speed)
        assert word_error_rate("show me the garden", words(pcm, OUTPUT_SAMPLE_RATE)) <= 0.25
    assert len(await synthesize(session, "Show me the garden.", speed=2.0)) < 0.75 * len(plain)


async def test_abandoned_phrase_stops_within_a_chunk(engine: KokoroEngine) -> None:
    before = metric(engine, "voice_tts_phrases_total", outcome="abandoned")
    seconds_before = metric(engine, "voice_tts_audio_seconds_total")
    async with contextlib.aclosing(engine.open().speak(LONG, "", 1.0, False)) as parts:
        async for _ in parts:
            break
    assert len(await synthesize(engine.open(), "Yes.")) > 0  # wait until the worker is free
    assert metric(engine, "voice_tts_phrases_total", outcome="abandoned") - before == 1
    seconds = metric(engine, "voice_tts_audio_seconds_total") - seconds_before
    assert seconds < 6  # of about eleven chunks
    assert metric(engine, "voice_tts_queue_length") == 0


async def test_urgent_phrase_is_spoken_before_queued_ones(engine: KokoroEngine) -> None:
    order: list[str] = []

    async def say(name: str, text: str, urgent: bool) -> None:
        await synthesize(engine.open(), text, urgent=urgent)
        order.append(name)

    phrases = [("first", "Good morning to you."), ("second", "Then we shall see.")]
    with engine._queue._changed:  # the worker takes none of them before all are there
        waiting = [asyncio.create_task(say(name, text, False)) for name, text in phrases]
        waiting.append(asyncio.create_task(say("urgent", "Yes.", True)))
        await asyncio.sleep(0)
        assert len(engine._queue) == 3
    await asyncio.gather(*waiting)
    assert order[0] == "urgent"


async def test_metrics_count_phrases_and_seconds(engine: KokoroEngine) -> None:
    spoken_before = metric(engine, "voice_tts_phrases_total", outcome="spoken")
    seconds_before = metric(engine, "voice_tts_audio_seconds_total")
    pcm = await synthesize(engine.open(), "Good evening.", urgent=True)
    assert metric(engine, "voice_tts_phrases_total", outcome="spoken") == spoken_before + 1
    seconds = metric(engine, "voice_tts_audio_seconds_total") - seconds_before
    assert seconds == pytest.approx(len(pcm) / OUTPUT_SAMPLE_RATE)
    assert metric(engine, "voice_tts_synthesis_seconds_total") > 0
    assert metric(engine, "voice_tts_real_time_ratio_count") > 0
    assert metric(engine, "voice_tts_phrases_total", outcome="failed") == 0


async def test_engine_does_not_start_with_a_wrong_lexicon(tmp_path: Path, weights: Path) -> None:
    lexicon = tmp_path / "lexicon.tsv"
    lexicon.write_text("Kefzol\tkef zole\nKeflex\n", encoding="utf-8")
    settings = Settings(paths=PathsConfig(weights=weights), tts=TTSConfig(lexicon_file=lexicon))
    with pytest.raises(BadLexicon, match="line 2"):
        await KokoroEngine(settings).start()


async def test_engine_does_not_start_without_a_model_or_with_an_unknown_voice(
    tmp_path: Path, weights: Path
) -> None:
    with pytest.raises(MissingWeights):
        await KokoroEngine(Settings(paths=PathsConfig(weights=tmp_path))).start()
    settings = Settings(paths=PathsConfig(weights=weights))
    settings = dataclasses.replace(settings, tts=TTSConfig(voice="zz_nobody"))
    with pytest.raises(UnknownVoice):
        await KokoroEngine(settings).start()
