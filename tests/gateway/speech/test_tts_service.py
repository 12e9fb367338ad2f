"""The TTS service and its phrase aggregator in a Pipecat pipeline, with an instant engine.

Complete sessions are tested in tests/gateway/test_session.py.
"""

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
from appliance.gateway.speech.phrase_aggregator import PhraseAggregator
from appliance.gateway.speech.tts_service import (
    QUIET_SECONDS,
    SLICE_BYTES,
    KokoroTTSService,
    SpeechHooks,
)
from appliance.link.client import EngineClient
from appliance.link.engine import OUTPUT_SAMPLE_RATE
from appliance.settings import TTSConfig
from tests.fakes import InstantTTSEngine, InstantTTSSession
from tests.link.contract import linked

HOLD_MESSAGE = b"\1\0" * 2400
REPLY = "It is Paris. It lies on the Seine, and two million people live there."


class RecordedHooks:
    """Records what the service reports to its session, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.spoken: dict[str, float] = {}

    def hooks(self) -> SpeechHooks:
        def record(event: str) -> Callable[[], None]:
            return lambda: self.events.append(event)

        def record_async(event: str) -> Callable[[], Awaitable[None]]:
            async def append() -> None:
                self.events.append(event)

            return append

        return SpeechHooks(
            first_phrase=record("first_phrase"),
            first_audio=record("first_audio"),
            spoken=self.spoken.__setitem__,
            complete=record("complete"),
            failed=self._failed,
            skipped=record("skipped"),
            hold=record_async("hold"),
            resume=record_async("resume"),
        )

    def _failed(self, error: EngineFailed) -> None:
        self.events.append(f"failed {error.reason}")


@pytest.fixture
def engine() -> InstantTTSEngine:
    return InstantTTSEngine()


@pytest.fixture
async def client(engine: InstantTTSEngine, tmp_path: Path) -> AsyncIterator[EngineClient]:
    async with linked(engine, tmp_path / "s") as connected:
        yield connected


@pytest.fixture
def recorded() -> RecordedHooks:
    return RecordedHooks()


def tts_service(
    client: EngineClient, recorded: RecordedHooks, recover_seconds: float = 0.0, **settings: str
) -> KokoroTTSService:
    config = TTSConfig(**settings)  # type: ignore[arg-type]
    return KokoroTTSService(
        config,
        client,
        lambda text, urgent: client.speak(text, config.voice, config.speed, urgent),
        recorded.hooks(),
        HOLD_MESSAGE,
        recover_seconds,
    )


async def run_service(service: KokoroTTSService, *frames: Frame) -> list[Frame]:
    """Run text through the aggregator and the service. Return the frames of both directions."""
    phrases = LLMTextProcessor(text_aggregator=PhraseAggregator(TTSConfig()))
    down, up = await run_test(
        Pipeline([phrases, service]), frames_to_send=[*frames, SleepFrame(0.3)]
    )
    return [*down, *up]


def reply(text: str) -> list[Frame]:
    words: list[Frame] = [LLMTextFrame(word + " ") for word in text.split()]
    return [LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame()]


async def test_length_of_each_phrase_is_reported_without_the_hold_message(
    client: EngineClient, recorded: RecordedHooks, engine: InstantTTSEngine
) -> None:
    frames = await run_service(tts_service(client, recorded), *reply(REPLY))
    sent_bytes = sum(len(frame.audio) for frame in frames if isinstance(frame, TTSAudioRawFrame))
    assert list(recorded.spoken) == engine.phrases
    assert sum(recorded.spoken.values()) == pytest.approx(sent_bytes / 2 / OUTPUT_SAMPLE_RATE)


async def test_reply_is_spoken_phrase_by_phrase(
    client: EngineClient, recorded: RecordedHooks, engine: InstantTTSEngine
) -> None:
    frames = await run_service(tts_service(client, recorded), *reply(REPLY))
    kinds = (TTSStartedFrame, TTSAudioRawFrame, TTSTextFrame, TTSStoppedFrame)
    order = [type(frame) for frame in frames if isinstance(frame, kinds)]
    assert (order[0], order[-1]) == (TTSStartedFrame, TTSStoppedFrame)
    assert len(engine.phrases) > 1
    assert " ".join(engine.phrases) == REPLY
    assert [frame.text for frame in frames if isinstance(frame, TTSTextFrame)] == engine.phrases


async def test_audio_leaves_in_short_slices(client: EngineClient, recorded: RecordedHooks) -> None:
    frames = await run_service(tts_service(client, recorded), *reply(REPLY))
    audio = [frame for frame in frames if isinstance(frame, TTSAudioRawFrame)]
    assert {frame.sample_rate for frame in audio} == {24_000}
    assert max(len(frame.audio) for frame in audio) <= SLICE_BYTES


async def test_language_model_is_paused_only_for_the_first_phrase_of_each_reply(
    client: EngineClient, recorded: RecordedHooks
) -> None:
    await run_service(tts_service(client, recorded), *reply(REPLY), SleepFrame(0.3), *reply(REPLY))
    assert recorded.events == ["first_phrase", "hold", "first_audio", "resume"] * 2


async def test_phrase_without_words_is_skipped_and_the_model_resumes(
    client: EngineClient, recorded: RecordedHooks, engine: InstantTTSEngine
) -> None:
    frames = await run_service(
        tts_service(client, recorded),
        TTSSpeakFrame("***"),
        SleepFrame(0.2),
        TTSSpeakFrame("Paris."),
    )
    assert engine.phrases == ["Paris."]
    assert recorded.events.count("hold") == recorded.events.count("resume")
    assert not any(isinstance(frame, ErrorFrame) for frame in frames)


async def test_reply_ends_immediately_when_its_last_phrase_has_no_audio(
    client: EngineClient, recorded: RecordedHooks, engine: InstantTTSEngine
) -> None:
    service = tts_service(client, recorded)
    async with asyncio.timeout(QUIET_SECONDS * 0.8):
        frames = await run_service(
            service, *reply("It is Paris. ***"), SleepFrame(0.2), *reply("Yes.")
        )
    assert [type(frame) for frame in frames].count(TTSStoppedFrame) == 2
    assert engine.phrases == ["It is Paris.", "Yes."]


async def test_unknown_voice_is_reported_without_an_error_frame(
    client: EngineClient, recorded: RecordedHooks
) -> None:
    frames = await run_service(tts_service(client, recorded, voice="zz_nobody"), *reply("Yes."))
    assert "failed unknown_voice" in recorded.events
    assert recorded.events.count("hold") == recorded.events.count("resume")
    kinds = (ErrorFrame, TTSAudioRawFrame)
    assert not any(isinstance(frame, kinds) for frame in frames)


class EndlessVoice(InstantTTSSession):
    """Never finishes a phrase that contains the word "story"."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(super().speak(text, voice, speed, urgent)) as chunks:
            async for chunk in chunks:
                yield chunk
                if "story" in text:
                    await asyncio.Event().wait()


async def test_interruption_stops_the_synthesis(
    client: EngineClient,
    recorded: RecordedHooks,
    engine: InstantTTSEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: EndlessVoice(engine))
    unfinished_reply = reply("This is a story that goes on and on. " * 5)[:-1]
    service = tts_service(client, recorded)
    await run_service(
        service,
        *unfinished_reply,
        SleepFrame(0.5),
        InterruptionFrame(),
        SleepFrame(0.5),
        *reply("Yes."),
    )
    assert engine.running == 0
    assert len(engine.phrases) == 2
    assert engine.phrases[-1] == "Yes."


async def test_engine_loss_plays_the_hold_message_once(
    tmp_path: Path, recorded: RecordedHooks
) -> None:
    client = EngineClient("tts", tmp_path / "no-engine")
    frames = await run_service(
        tts_service(client, recorded, recover_seconds=0.6), *reply("Yes."), SleepFrame(2)
    )
    audio = b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))
    assert audio == HOLD_MESSAGE
    # Reported when the engine was lost, and again when it did not come back.
    assert recorded.events.count("failed engine_gone") == 2
    assert recorded.events.count("skipped") == 1
    assert "first_audio" not in recorded.events, "the hold message is not part of the answer"
    assert recorded.events.count("hold") == 1
    assert "resume" in recorded.events


async def test_phrase_is_spoken_after_the_engine_comes_back(
    tmp_path: Path, recorded: RecordedHooks, engine: InstantTTSEngine
) -> None:
    async def restart_engine() -> None:
        while "failed engine_gone" not in recorded.events:
            await asyncio.sleep(0.01)
        async with linked(engine, tmp_path / "s"):
            await finished.wait()

    finished = asyncio.Event()
    restarted = asyncio.create_task(restart_engine())
    client = EngineClient("tts", tmp_path / "s")
    frames = await run_service(
        tts_service(client, recorded, recover_seconds=30), *reply("Yes."), SleepFrame(2)
    )
    finished.set()
    await restarted
    assert engine.phrases == ["Yes."]
    assert [frame.text for frame in frames if isinstance(frame, TTSTextFrame)] == ["Yes."]
    assert recorded.events.count("failed engine_gone") == 1, "one report per loss, not per attempt"
    assert "skipped" not in recorded.events
    assert recorded.events.count("first_audio") == 1
