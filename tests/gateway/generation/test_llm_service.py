"""The LLM service in a Pipecat pipeline. Complete sessions are in tests/gateway/test_session.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData, TTFBMetricsData
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.services.llm_service import FunctionCallParams
from pipecat.tests.utils import SleepFrame, run_test

from appliance.errors import EngineFailed
from appliance.gateway.frames import SpeechPausedFrame
from appliance.gateway.generation.history import ToolCallRecord
from appliance.gateway.generation.llm_service import UltravoxWithContextService
from appliance.gateway.generation.speculation import Speculator
from appliance.gateway.generation.turn_callbacks import TurnCallbacks
from appliance.gateway.generation.turn_runner import CANNOT_REPLY
from appliance.gateway.session_set import SessionSet
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, Result, ToolCall
from appliance.settings import LLMConfig, TTSConfig
from tests.fakes import InstantLLMEngine, tone
from tests.link.contract import linked

FRAME_BYTES = 1280


class EventLog:
    """Records the callbacks of a turn in call order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.speech_seconds = 0.0
        self.stats: dict[str, float] = {}

    def callbacks(self) -> TurnCallbacks:
        return TurnCallbacks(
            on_speech_started=lambda ago: self.events.append("speech_started"),
            on_speech_stopped=lambda ago: self.events.append("speech_stopped"),
            on_turn_submitted=self._submitted,
            on_response_begun=lambda _response_id: None,
            on_first_token=lambda: self.events.append("first_token"),
            on_tool_call=lambda outcome: self.events.append(f"tool_call {outcome}"),
            on_client_tool_timed_out=lambda: self.events.append("client_silent"),
            on_generated=self._generated,
            on_hang_up=lambda speaking: self.events.append(f"hang_up {speaking}"),
            on_transcript=lambda text: self.events.append(f"transcript {text}"),
            on_engine_failed=self._failed,
            on_turn_dropped=lambda outcome: self.events.append(f"dropped {outcome}"),
        )

    def _submitted(self, kind: str, seconds: float, joined: bool) -> None:
        self.events.append(f"submitted {kind}{' joined' * joined}")
        self.speech_seconds = seconds

    def _generated(self, result: Result) -> None:
        self.events.append("generated")

    def _failed(self, error: EngineFailed) -> None:
        self.events.append(f"failed {error.reason}")


@pytest.fixture
def engine() -> InstantLLMEngine:
    return InstantLLMEngine()


@pytest.fixture
async def client(engine: InstantLLMEngine, tmp_path: Path) -> AsyncIterator[EngineClient]:
    async with linked(engine, tmp_path / "s") as connected:
        yield connected


@pytest.fixture
def events() -> EventLog:
    return EventLog()


def llm_service(
    config: LLMConfig,
    client: EngineClient,
    events: EventLog,
    context: LLMContext | None = None,
    transcripts: bool = True,
) -> UltravoxWithContextService:
    """Return a service without speculation, which needs a TTS engine (test_speculation.py)."""
    speculator = Speculator(False, TTSConfig(), client, client, SessionSet(), lambda *_: None)
    return UltravoxWithContextService(
        config, client, speculator, events.callbacks(), context or LLMContext(), transcripts
    )


@pytest.fixture
def service(client: EngineClient, events: EventLog) -> UltravoxWithContextService:
    config = LLMConfig(pre_roll_seconds=0.04, recover_seconds=0)
    return llm_service(config, client, events)


async def run(
    service: UltravoxWithContextService, *frames: Frame
) -> tuple[list[Frame], list[Frame]]:
    """Send frames, let all turns end, and return the frames pushed downstream and upstream."""
    down, up = await run_test(
        service,
        frames_to_send=[*frames, SleepFrame(0.3)],
        pipeline_params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
    )
    return list(down), list(up)


def spoken(seconds: float, silent: bool = False) -> list[Frame]:
    """Return the frames of a user turn with `seconds` of audio. The engine hears no words in
    silence.
    """
    pcm = bytes(round(seconds * 16_000) * 2) if silent else tone(seconds, rate=16_000)
    audio: list[Frame] = [
        InputAudioRawFrame(pcm[start : start + FRAME_BYTES], 16_000, 1)
        for start in range(0, len(pcm), FRAME_BYTES)
    ]
    return [
        VADUserStartedSpeakingFrame(start_secs=0.0),
        UserStartedSpeakingFrame(),
        *audio,
        SpeechPausedFrame(silence_seconds=0.0),
        VADUserStoppedSpeakingFrame(stop_secs=0.0),
        UserStoppedSpeakingFrame(),
    ]


def typed(text: str) -> RTVISendTextFrame:
    return RTVISendTextFrame(msg_id="1", text=text)


async def test_speech_gets_a_streamed_reply(
    service: UltravoxWithContextService, events: EventLog
) -> None:
    down, up = await run(service, *spoken(1.0))
    kinds = (LLMFullResponseStartFrame, LLMTextFrame, LLMFullResponseEndFrame)
    reply = [frame for frame in down if isinstance(frame, kinds)]
    assert isinstance(reply[0], LLMFullResponseStartFrame)
    assert isinstance(reply[-1], LLMFullResponseEndFrame)
    texts = [frame.text for frame in reply if isinstance(frame, LLMTextFrame)]
    assert len(texts) > 2
    assert "".join(texts) == "Turn 2, heard 1000 ms."
    assert events.events == [
        "speech_started", "speech_stopped", "submitted spoken", "first_token", "generated",
        "transcript 1000 milliseconds",
    ]  # fmt: skip
    assert events.speech_seconds == 1.0
    (transcript,) = [frame for frame in up if isinstance(frame, TranscriptionFrame)]
    assert transcript.text == "1000 milliseconds"


async def test_ttfb_and_token_usage_are_reported(service: UltravoxWithContextService) -> None:
    down, _ = await run(service, typed("Hello."))
    data = [item for frame in down if isinstance(frame, MetricsFrame) for item in frame.data]
    assert any(isinstance(item, TTFBMetricsData) and item.value > 0 for item in data)
    (usage,) = [item for item in data if isinstance(item, LLMUsageMetricsData)]
    assert usage.value.completion_tokens == 1


async def test_service_announces_itself_as_realtime(service: UltravoxWithContextService) -> None:
    assert service.service_metadata_frame().is_realtime_service
    assert service.can_generate_metrics()


async def test_context_frame_starts_no_turn(
    service: UltravoxWithContextService, events: EventLog
) -> None:
    down, _ = await run(service, LLMContextFrame(context=LLMContext()))
    assert not any(isinstance(frame, LLMContextFrame) for frame in down)
    assert events.events == []


@pytest.mark.parametrize("seconds", [0.1, 0.2])
async def test_utterance_of_one_short_word_gets_a_reply(
    service: UltravoxWithContextService, events: EventLog, seconds: float
) -> None:
    await run(service, *spoken(seconds))
    assert "submitted spoken" in events.events
    assert "generated" in events.events


async def test_utterance_without_words_gets_no_reply(
    service: UltravoxWithContextService, events: EventLog
) -> None:
    await run(service, *spoken(0.2, silent=True))
    assert events.events[-1] == "dropped nothing_heard"
    assert "generated" not in events.events


async def test_noise_without_words_does_not_cancel_the_question_before(
    service: UltravoxWithContextService, events: EventLog
) -> None:
    question = service._history.add("Book a table.")
    question.tool_calls.append(ToolCallRecord("book()", "It is booked."))  # so it is not joined
    await run(service, *spoken(0.2, silent=True))
    turns = [event for event in events.events if event.startswith(("submitted", "dropped"))]
    assert turns == ["submitted spoken", "dropped nothing_heard", "submitted typed joined"]
    assert events.events[-1] == "generated"


async def test_interruption_stops_the_model(
    service: UltravoxWithContextService, events: EventLog, engine: InstantLLMEngine
) -> None:
    engine.reply, engine.pause_seconds = lambda *_: "word " * 1000, 0.005
    await run(service, typed("Talk!"), SleepFrame(0.2), InterruptionFrame())
    (session,) = engine.sessions
    assert 0 < session.decoded < 900
    assert session.running == 0
    assert "generated" not in events.events


async def test_engine_keeps_the_parts_of_a_question_and_drops_what_had_no_words(
    service: UltravoxWithContextService, engine: InstantLLMEngine
) -> None:
    utterances_held: list[set[int]] = []

    def reply(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> str:
        utterances_held.append(set(heard))
        return "Yes."

    engine.reply = reply
    await run(
        service,
        *spoken(0.2, silent=True),
        SleepFrame(0.1),
        *spoken(1.0),
        SleepFrame(0.1),
        InterruptionFrame(),
        *spoken(1.0),
    )
    assert len(utterances_held) == 2
    assert len(utterances_held[1]) == 2  # both parts of the question, without the noise


async def test_engine_drops_speech_that_belongs_to_no_turn(
    service: UltravoxWithContextService, engine: InstantLLMEngine
) -> None:
    utterances_held: list[set[int]] = []

    def reply(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> str:
        utterances_held.append(set(heard))
        return "Yes."

    engine.reply = reply
    speech_without_turn = [
        frame
        for frame in spoken(0.5)
        if not isinstance(frame, UserStartedSpeakingFrame | UserStoppedSpeakingFrame)
    ]
    await run(service, *speech_without_turn, SleepFrame(0.1), *spoken(1.0))
    assert [len(utterances) for utterances in utterances_held] == [1]


async def test_cough_during_a_reply_restarts_the_reply_but_not_its_tool_call(
    client: EngineClient, events: EventLog, engine: InstantLLMEngine
) -> None:
    runs: list[str] = []
    roles: list[list[str]] = []

    async def order(params: FunctionCallParams) -> None:
        """Orders a pizza."""
        runs.append("ordered")
        await params.result_callback("It comes at eight.")

    def reply(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> str | ToolCall:
        roles.append([turn.role for turn in conversation[1:]])
        engine.pause_seconds = 600 if len(roles) == 2 else 0
        return ToolCall("order") if len(roles) == 1 else "At eight."

    engine.reply = reply
    context = LLMContext(tools=ToolsSchema(standard_tools=[order]))
    service = llm_service(LLMConfig(), client, events, context)
    down, _ = await run(
        service,
        typed("A pizza."),
        SleepFrame(0.3),
        InterruptionFrame(),
        *spoken(0.2, silent=True),
        SleepFrame(0.3),
    )
    assert "".join(f.text for f in down if isinstance(f, LLMTextFrame)) == "At eight."
    assert runs == ["ordered"]
    assert roles == [["user"], ["user", "assistant", "tool"], ["user", "assistant", "tool"]]
    assert events.events.count("tool_call done") == 1


async def test_user_hears_an_apology_when_the_engine_is_unreachable(
    tmp_path: Path, events: EventLog
) -> None:
    client = EngineClient("llm", tmp_path / "no-engine")
    config = LLMConfig(recover_seconds=0)
    service = llm_service(config, client, events)
    down, _ = await run(service, typed("Anybody?"))
    (apology,) = [frame for frame in down if isinstance(frame, TTSSpeakFrame)]
    assert apology.text == CANNOT_REPLY
    assert not apology.append_to_context
    assert events.events == [
        "submitted typed",
        "failed engine_gone",
        "dropped failed",
    ]


async def test_no_transcript_is_pushed_when_transcripts_are_off(
    client: EngineClient, events: EventLog
) -> None:
    service = llm_service(LLMConfig(), client, events, transcripts=False)
    _, up = await run(service, *spoken(1.0))
    assert not any(isinstance(frame, TranscriptionFrame) for frame in up)


async def test_cleanup_stops_all_tasks_and_closes_the_engine_session(
    service: UltravoxWithContextService, engine: InstantLLMEngine
) -> None:
    engine.pause_seconds = 600
    tasks = asyncio.all_tasks()
    await run(service, *spoken(1.0))
    async with asyncio.timeout(10):
        while not engine.sessions[0].closed or asyncio.all_tasks() - tasks:
            await asyncio.sleep(0.01)
