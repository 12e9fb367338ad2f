"""The service among Pipecat's frames; whole calls are in tests/gateway/test_session.py."""

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
from appliance.gateway.llm_service import CANNOT_ANSWER, UltravoxWithContextService
from appliance.gateway.reply import TurnHooks
from appliance.link.client import EngineClient
from appliance.link.engine import Result, ToolCall, Turn
from appliance.settings import LLMConfig
from tests.fakes import InstantSpeechEngine, tone
from tests.link.contract import linked

FRAME_BYTES = 1280


class Noted:
    """What the service told the session, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.speech_seconds = 0.0
        self.stats: dict[str, float] = {}

    def hooks(self) -> TurnHooks:
        return TurnHooks(
            speech_started=lambda ago: self.events.append("speech_started"),
            speech_ended=lambda ago: self.events.append("speech_ended"),
            asked=self._asked,
            first_token=lambda: self.events.append("first_token"),
            called=lambda outcome: self.events.append(f"called {outcome}"),
            generated=self._generated,
            hang_up=lambda speaking: self.events.append(f"hang_up {speaking}"),
            understood=lambda text: self.events.append(f"understood {text}"),
            failed=self._failed,
            ended=lambda outcome: self.events.append(f"ended {outcome}"),
        )

    def _asked(self, kind: str, seconds: float) -> None:
        self.events.append(f"asked {kind}")
        self.speech_seconds = seconds

    def _generated(self, result: Result) -> None:
        self.events.append("generated")

    def _failed(self, problem: EngineFailed) -> None:
        self.events.append(f"failed {problem.reason}")


@pytest.fixture
def engine() -> InstantSpeechEngine:
    return InstantSpeechEngine()


@pytest.fixture
async def client(engine: InstantSpeechEngine, tmp_path: Path) -> AsyncIterator[EngineClient]:
    async with linked(engine, tmp_path / "s") as connected:
        yield connected


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def service(client: EngineClient, noted: Noted) -> UltravoxWithContextService:
    knobs = LLMConfig(pre_roll_seconds=0.04, recover_seconds=0)
    return UltravoxWithContextService(knobs, client, noted.hooks(), LLMContext(), transcripts=True)


async def through(
    service: UltravoxWithContextService, *frames: Frame
) -> tuple[list[Frame], list[Frame]]:
    """What came out downstream and upstream, once all turns had time to end."""
    down, up = await run_test(
        service,
        frames_to_send=[*frames, SleepFrame(0.3)],
        pipeline_params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
    )
    return list(down), list(up)


def spoken(seconds: float) -> list[Frame]:
    """A turn of the user with this much audio; Pipecat announces speech 0.2 s late."""
    pcm = tone(seconds, rate=16_000)
    audio: list[Frame] = [
        InputAudioRawFrame(pcm[start : start + FRAME_BYTES], 16_000, 1)
        for start in range(0, len(pcm), FRAME_BYTES)
    ]
    return [
        VADUserStartedSpeakingFrame(start_secs=0.0),
        UserStartedSpeakingFrame(),
        *audio,
        VADUserStoppedSpeakingFrame(stop_secs=0.0),
        UserStoppedSpeakingFrame(),
    ]


def typed(text: str) -> RTVISendTextFrame:
    return RTVISendTextFrame(msg_id="1", text=text)


async def test_speech_becomes_a_streamed_answer(
    service: UltravoxWithContextService, noted: Noted
) -> None:
    down, up = await through(service, *spoken(1.0))
    kinds = (LLMFullResponseStartFrame, LLMTextFrame, LLMFullResponseEndFrame)
    answer = [frame for frame in down if isinstance(frame, kinds)]
    assert isinstance(answer[0], LLMFullResponseStartFrame)
    assert isinstance(answer[-1], LLMFullResponseEndFrame)
    texts = [frame.text for frame in answer if isinstance(frame, LLMTextFrame)]
    assert len(texts) > 2
    assert "".join(texts) == "Turn 2, heard 1000 milliseconds."
    assert noted.events == [
        "speech_started", "speech_ended", "asked spoken", "first_token", "generated",
        "understood 1000 milliseconds",
    ]  # fmt: skip
    assert noted.speech_seconds == 1.0
    (transcript,) = [frame for frame in up if isinstance(frame, TranscriptionFrame)]
    assert transcript.text == "1000 milliseconds"


async def test_a_turn_is_measured(service: UltravoxWithContextService) -> None:
    down, _ = await through(service, typed("Hello."))
    data = [item for frame in down if isinstance(frame, MetricsFrame) for item in frame.data]
    assert any(isinstance(item, TTFBMetricsData) and item.value > 0 for item in data)
    (usage,) = [item for item in data if isinstance(item, LLMUsageMetricsData)]
    assert usage.value.completion_tokens == 1


async def test_it_is_driven_by_local_turns(service: UltravoxWithContextService) -> None:
    assert service.service_metadata_frame().is_realtime_service
    assert service.can_generate_metrics()


async def test_pipecats_own_context_is_no_question(
    service: UltravoxWithContextService, noted: Noted
) -> None:
    down, _ = await through(service, LLMContextFrame(context=LLMContext()))
    assert not any(isinstance(frame, LLMContextFrame) for frame in down)
    assert noted.events == []


async def test_an_utterance_too_short_to_be_one_gets_no_answer(
    service: UltravoxWithContextService, noted: Noted, engine: InstantSpeechEngine
) -> None:
    await through(service, *spoken(0.2))
    assert noted.events == ["speech_started", "speech_ended", "ended too_short"]


async def test_an_interruption_stops_the_model(
    service: UltravoxWithContextService, noted: Noted, engine: InstantSpeechEngine
) -> None:
    engine.reply, engine.pause_seconds = lambda *_: "word " * 1000, 0.005
    await through(service, typed("Talk!"), SleepFrame(0.2), InterruptionFrame())
    (session,) = engine.sessions
    assert 0 < session.decoded < 900
    assert session.running == 0
    assert "generated" not in noted.events


async def test_what_was_joined_or_too_short_is_forgotten_by_the_engine(
    service: UltravoxWithContextService, engine: InstantSpeechEngine
) -> None:
    kept: list[set[int]] = []

    def reply(conversation: Sequence[Turn], heard: dict[int, bytes]) -> str:
        kept.append(set(heard))
        return "Yes."

    engine.reply = reply
    await through(
        service,
        *spoken(0.2),
        SleepFrame(0.1),
        *spoken(1.0),
        SleepFrame(0.1),
        InterruptionFrame(),
        *spoken(1.0),
    )
    assert len(kept) == 2
    assert len(kept[1]) == 1  # only the two questions in one


async def test_a_cough_does_not_cost_the_caller_an_answer_nor_is_a_tool_run_again_for_it(
    client: EngineClient, noted: Noted, engine: InstantSpeechEngine
) -> None:
    runs: list[str] = []
    told: list[list[str]] = []

    async def order(params: FunctionCallParams) -> None:
        """Orders a pizza."""
        runs.append("ordered")
        await params.result_callback("It comes at eight.")

    def reply(conversation: Sequence[Turn], heard: dict[int, bytes]) -> str | ToolCall:
        told.append([turn.role for turn in conversation[1:]])
        engine.pause_seconds = 600 if len(told) == 2 else 0
        return ToolCall("order") if len(told) == 1 else "At eight."

    engine.reply = reply
    context = LLMContext(tools=ToolsSchema(standard_tools=[order]))
    service = UltravoxWithContextService(LLMConfig(), client, noted.hooks(), context, True)
    down, _ = await through(
        service, typed("A pizza."), SleepFrame(0.3), InterruptionFrame(), *spoken(0.2)
    )
    assert "".join(f.text for f in down if isinstance(f, LLMTextFrame)) == "At eight."
    assert runs == ["ordered"]
    assert told == [["user"], ["user", "assistant", "tool"], ["user", "assistant", "tool"]]
    assert noted.events.count("called done") == 1


async def test_without_an_engine_the_caller_hears_why_there_is_no_answer(
    tmp_path: Path, noted: Noted
) -> None:
    client = EngineClient("llm", tmp_path / "nobody")
    knobs = LLMConfig(recover_seconds=0)
    service = UltravoxWithContextService(
        knobs, client, noted.hooks(), LLMContext(), transcripts=True
    )
    down, _ = await through(service, typed("Anybody?"))
    (apology,) = [frame for frame in down if isinstance(frame, TTSSpeakFrame)]
    assert apology.text == CANNOT_ANSWER
    assert not apology.append_to_context
    assert noted.events == [
        "asked typed",
        "failed engine_gone",
        "ended failed",
    ]


async def test_the_words_of_the_caller_stay_here_when_transcripts_are_off(
    client: EngineClient, noted: Noted
) -> None:
    service = UltravoxWithContextService(
        LLMConfig(), client, noted.hooks(), LLMContext(), transcripts=False
    )
    _, up = await through(service, *spoken(1.0))
    assert not any(isinstance(frame, TranscriptionFrame) for frame in up)


async def test_nothing_runs_on_when_the_call_is_over(
    service: UltravoxWithContextService, engine: InstantSpeechEngine
) -> None:
    engine.pause_seconds = 600
    tasks = asyncio.all_tasks()
    await through(service, *spoken(1.0))
    async with asyncio.timeout(10):
        while not engine.sessions[0].closed or asyncio.all_tasks() - tasks:
            await asyncio.sleep(0.01)
