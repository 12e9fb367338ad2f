"""The voice among Pipecat's frames; whole calls are in tests/gateway/test_session.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_text_processor import LLMTextProcessor
from pipecat.tests.utils import SleepFrame, run_test

from appliance.errors import EngineFailed
from appliance.gateway.tts_service import (
    QUIET_SECONDS,
    SLICE_BYTES,
    KokoroTTSService,
    PhraseAggregator,
    SpeechHooks,
)
from appliance.link.client import EngineClient
from appliance.settings import TTSConfig
from tests.fakes import InstantVoiceEngine, InstantVoiceSession
from tests.link.contract import linked

PATIENCE = b"\1\0" * 2400
REPLY = "It is Paris. It lies on the Seine, and two million people live there."


class Noted:
    """What the service told the session, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def hooks(self) -> SpeechHooks:
        def note(event: str) -> Callable[[], None]:
            return lambda: self.events.append(event)

        def awaited(event: str) -> Callable[[], Awaitable[None]]:
            async def note() -> None:
                self.events.append(event)

            return note

        return SpeechHooks(
            first_phrase=note("first_phrase"),
            first_audio=note("first_audio"),
            failed=self._failed,
            hold=awaited("hold"),
            resume=awaited("resume"),
        )

    def _failed(self, problem: EngineFailed) -> None:
        self.events.append(f"failed {problem.reason}")


@pytest.fixture
def engine() -> InstantVoiceEngine:
    return InstantVoiceEngine()


@pytest.fixture
async def client(engine: InstantVoiceEngine, tmp_path: Path) -> AsyncIterator[EngineClient]:
    async with linked(engine, tmp_path / "s") as connected:
        yield connected


@pytest.fixture
def noted() -> Noted:
    return Noted()


def service(
    client: EngineClient, noted: Noted, recover_seconds: float = 0.0, **knobs: str
) -> KokoroTTSService:
    return KokoroTTSService(
        TTSConfig(**knobs),  # type: ignore[arg-type]
        client,
        noted.hooks(),
        PATIENCE,
        recover_seconds,
    )


async def spoken(voice: KokoroTTSService, *frames: Frame) -> list[Frame]:
    """What came out both ways; the frames go through the phrase cutter first."""
    phrases = LLMTextProcessor(text_aggregator=PhraseAggregator(TTSConfig()))
    down, up = await run_test(Pipeline([phrases, voice]), frames_to_send=[*frames, SleepFrame(0.3)])
    return [*down, *up]


def reply(text: str) -> list[Frame]:
    words: list[Frame] = [LLMTextFrame(word + " ") for word in text.split()]
    return [LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame()]


async def test_a_reply_is_spoken_phrase_by_phrase(
    client: EngineClient, noted: Noted, engine: InstantVoiceEngine
) -> None:
    frames = await spoken(service(client, noted), *reply(REPLY))
    kinds = (TTSStartedFrame, TTSAudioRawFrame, TTSTextFrame, TTSStoppedFrame)
    order = [type(frame) for frame in frames if isinstance(frame, kinds)]
    assert (order[0], order[-1]) == (TTSStartedFrame, TTSStoppedFrame)
    assert len(engine.phrases) > 1
    assert " ".join(engine.phrases) == REPLY
    assert [frame.text for frame in frames if isinstance(frame, TTSTextFrame)] == engine.phrases


async def test_speech_comes_in_small_slices(client: EngineClient, noted: Noted) -> None:
    frames = await spoken(service(client, noted), *reply(REPLY))
    audio = [frame for frame in frames if isinstance(frame, TTSAudioRawFrame)]
    assert {frame.sample_rate for frame in audio} == {24_000}
    assert max(len(frame.audio) for frame in audio) <= SLICE_BYTES


async def test_the_model_waits_for_the_first_phrase_of_each_reply_only(
    client: EngineClient, noted: Noted
) -> None:
    await spoken(service(client, noted), *reply(REPLY), SleepFrame(0.3), *reply(REPLY))
    assert noted.events == ["first_phrase", "hold", "first_audio", "resume"] * 2


async def test_what_cannot_be_spoken_is_skipped_and_the_model_goes_on(
    client: EngineClient, noted: Noted, engine: InstantVoiceEngine
) -> None:
    frames = await spoken(
        service(client, noted), TTSSpeakFrame("***"), SleepFrame(0.2), TTSSpeakFrame("Paris.")
    )
    assert engine.phrases == ["Paris."]
    assert noted.events.count("hold") == noted.events.count("resume")
    assert not any(isinstance(frame, ErrorFrame) for frame in frames)


async def test_a_last_phrase_that_cannot_be_spoken_holds_up_nothing(
    client: EngineClient, noted: Noted, engine: InstantVoiceEngine
) -> None:
    voice = service(client, noted)
    async with asyncio.timeout(QUIET_SECONDS * 0.8):
        frames = await spoken(voice, *reply("It is Paris. ***"), SleepFrame(0.2), *reply("Yes."))
    assert [type(frame) for frame in frames].count(TTSStoppedFrame) == 2
    assert engine.phrases == ["It is Paris.", "Yes."]


async def test_an_unknown_voice_is_reported_and_no_error_to_the_caller(
    client: EngineClient, noted: Noted
) -> None:
    frames = await spoken(service(client, noted, voice="zz_nobody"), *reply("Yes."))
    assert "failed unknown_voice" in noted.events
    assert noted.events.count("hold") == noted.events.count("resume")
    kinds = (ErrorFrame, TTSAudioRawFrame)
    assert not any(isinstance(frame, kinds) for frame in frames)


class EndlessVoice(InstantVoiceSession):
    """Comes to no end with a story."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(super().speak(text, voice, speed, urgent)) as chunks:
            async for chunk in chunks:
                yield chunk
                if "story" in text:
                    await asyncio.Event().wait()


async def test_an_interruption_stops_the_synthesis(
    client: EngineClient,
    noted: Noted,
    engine: InstantVoiceEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(InstantVoiceEngine, "open", lambda engine: EndlessVoice(engine))
    begun = reply("This is a story that goes on and on. " * 5)[:-1]
    voice = service(client, noted)
    await spoken(
        voice, *begun, SleepFrame(0.5), InterruptionFrame(), SleepFrame(0.5), *reply("Yes.")
    )
    assert engine.running == 0
    assert len(engine.phrases) == 2
    assert engine.phrases[-1] == "Yes."


async def test_without_the_engine_the_caller_is_asked_for_patience_once(
    tmp_path: Path, noted: Noted
) -> None:
    client = EngineClient("tts", tmp_path / "nobody")
    frames = await spoken(
        service(client, noted, recover_seconds=0.6), *reply("Yes."), SleepFrame(2)
    )
    audio = b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))
    assert audio == PATIENCE
    assert noted.events.count("failed engine_gone") == 2  # when it was lost, and given up on
    assert "first_audio" not in noted.events, "it is no part of the answer"
    assert noted.events.count("hold") == 1
    assert "resume" in noted.events


async def test_a_phrase_waits_for_the_engine_and_is_then_spoken(
    tmp_path: Path, noted: Noted, engine: InstantVoiceEngine
) -> None:
    async def comes_back() -> None:
        while "failed engine_gone" not in noted.events:
            await asyncio.sleep(0.01)
        async with linked(engine, tmp_path / "s"):
            await over.wait()

    over = asyncio.Event()
    restarted = asyncio.create_task(comes_back())
    client = EngineClient("tts", tmp_path / "s")
    frames = await spoken(service(client, noted, recover_seconds=30), *reply("Yes."), SleepFrame(2))
    over.set()
    await restarted
    assert engine.phrases == ["Yes."]
    assert [frame.text for frame in frames if isinstance(frame, TTSTextFrame)] == ["Yes."]
    assert noted.events.count("failed engine_gone") == 1, "one loss, however many attempts"
    assert noted.events.count("first_audio") == 1
