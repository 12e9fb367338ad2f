"""The LLM service with speculation, while users, engines and the network do anything in any order.

Hypothesis draws what happens: speech, pauses, typed questions, interruptions, lost, slow and
restarted engines, and whether the model calls a tool. Whatever happened, the next question gets its
own complete reply, once, and no tool ran for an answer that was discarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    SystemFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.services.llm_service import FunctionCallParams
from pipecat.tests.utils import run_test

from appliance.gateway.frames import ReplyEndFrame, SpeechPausedFrame, SpeechResumedFrame
from appliance.gateway.generation.llm_service import UltravoxWithContextService
from appliance.gateway.generation.speculation import Speculator
from appliance.gateway.session_set import SessionSet
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, ToolCall
from appliance.link.protocol import HealthReport
from appliance.link.server import AnyEngine, serve_link
from appliance.settings import LLMConfig, TTSConfig
from tests.fakes import InstantLLMEngine, InstantTTSEngine, tone
from tests.fakes.engines import Reply, question_audio
from tests.gateway.generation.test_llm_service import EventLog

LAST_QUESTION = "Are you still there?"
HEARD = "Fine."
USER = ["speak", "pause", "end", "settle"]
FAULTS = ["lose llm", "lose tts", "restart", "slow", "fast"]
TOOLS = ["call tools", "call no tools"]
STEPS = st.lists(
    st.sampled_from(
        [*["speak", "pause", "end", "settle"] * 2, "type", "interrupt", *TOOLS, *FAULTS]
    ),
    max_size=24,
)


def reply(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> str:
    """Return a reply of several phrases that names the question it belongs to."""
    audio, text = len(question_audio(conversation, heard)), conversation[-1].text
    return f"Number {len(conversation)} is it. You said {text!r} and {audio} bytes. Goodbye."


@dataclass
class ActionFrame(SystemFrame):
    """Runs an action in order with the other frames."""

    action: Callable[[], Awaitable[None]] | None = None


class Actions(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ActionFrame) and frame.action is not None:
            await frame.action()
        else:
            await self.push_frame(frame, direction)


class Listener(FrameProcessor):
    """The user, who hears each reply to its end, and nothing of an interrupted one."""

    def __init__(self, heard: Callable[[str], None], events: EventLog) -> None:
        super().__init__()
        self._heard = heard
        self._events = events
        self.responses: list[str] = []
        self.questions: list[int] = []  # bytes of speech of the question of each response
        self.open = self.overlapping = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case LLMFullResponseStartFrame():
                self.overlapping |= self.open
                self.open = True
                self.responses.append("")
                self.questions.append(round(self._events.speech_seconds * 32_000))
            case LLMTextFrame():
                self.responses[-1] += frame.text
            case LLMFullResponseEndFrame():
                self.open = False
            case ReplyEndFrame():
                self._heard(HEARD)
            case InterruptionFrame():
                self._heard("")
        await self.push_frame(frame, direction)


class FaultyEngines:
    """Both engines behind real sockets; they can be lost, restarted and slowed."""

    def __init__(self, folder: Path) -> None:
        self.llm, self.tts = InstantLLMEngine(self._reply), InstantTTSEngine()
        self.calls_tools = False
        self._folder = folder
        self._serving: dict[str, contextlib.AsyncExitStack] = {}

    def _reply(self, conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> Reply:
        if conversation[-1].role == "tool":
            return "It is ordered. Goodbye."
        return ToolCall("order") if self.calls_tools else reply(conversation, heard)

    async def start(self) -> None:
        for engine in (self.llm, self.tts):
            if engine.name not in self._serving:
                await self._serve(engine)

    async def _serve(self, engine: AnyEngine) -> None:
        stack = self._serving[engine.name] = contextlib.AsyncExitStack()
        status = lambda: HealthReport(ready=True, waiting_for="")  # noqa: E731
        await stack.enter_async_context(
            serve_link(self._folder / f"{engine.name}.sock", status, engine)
        )

    async def lose(self, name: str) -> None:
        if stack := self._serving.pop(name, None):
            await stack.aclose()

    async def close(self) -> None:
        for name in list(self._serving):
            await self.lose(name)

    def client(self, name: str) -> EngineClient:
        return EngineClient(name, self._folder / f"{name}.sock")


@contextlib.asynccontextmanager
async def faulty_engines() -> AsyncIterator[FaultyEngines]:
    with tempfile.TemporaryDirectory() as folder:
        engines = FaultyEngines(Path(folder))
        await engines.start()
        try:
            yield engines
        finally:
            await engines.close()


class Script:
    """Turns steps into frames in an order that the turn taking can produce."""

    def __init__(self, engines: FaultyEngines, idle: Callable[[], bool]) -> None:
        self._engines = engines
        self._idle = idle
        self._speaking = self._paused = self._in_turn = False
        self.frames: list[Frame] = []

    def add(self, step: str) -> None:
        match step:
            case "speak":
                self._speak()
            case "pause" if self._speaking and not self._paused:
                self._paused = True
                self.frames.append(SpeechPausedFrame(silence_seconds=0.1))
            case "end" if self._in_turn:
                self._end()
            case "type":
                self.frames.append(RTVISendTextFrame(msg_id="1", text="What?"))
            case "interrupt" if not self._in_turn:
                self.frames.append(InterruptionFrame())
            case "settle":
                self._act(self._settle)
            case "lose llm" | "lose tts":
                name = step.split()[1]
                self._act(lambda: self._engines.lose(name))
            case "restart":
                self._act(self._engines.start)
            case "call tools" | "call no tools":
                self._act(lambda: self._set_tools(step == "call tools"))
            case "slow" | "fast":
                self._act(lambda: self._set_pause(600 if step == "slow" else 0))

    def finish(self) -> None:
        """End the user's turn, repair the engines, and ask the last question."""
        if self._in_turn:
            self._end()
        self._act(lambda: self._set_pause(0))
        self._act(lambda: self._set_tools(False))
        self._act(self._engines.start)
        self._act(self._restart_llm)  # a word that was slow before is still slow
        self._act(self._settle)
        self.frames.append(InterruptionFrame())
        self.frames.append(RTVISendTextFrame(msg_id="2", text=LAST_QUESTION))
        self._act(self._settle)

    def _speak(self) -> None:
        if not self._speaking:
            self._speaking = True
            self.frames.append(VADUserStartedSpeakingFrame(start_secs=0.0))
            if not self._in_turn:
                self._in_turn = True
                self.frames += [UserStartedSpeakingFrame(), InterruptionFrame()]
        elif self._paused:
            self.frames.append(SpeechResumedFrame())
        self._paused = False
        self.frames.append(InputAudioRawFrame(tone(0.4, rate=16_000), 16_000, 1))

    def _end(self) -> None:
        if self._speaking:
            if not self._paused:
                self.frames.append(SpeechPausedFrame(silence_seconds=0.1))
            self.frames.append(VADUserStoppedSpeakingFrame(stop_secs=0.0))
        self.frames.append(UserStoppedSpeakingFrame())
        self._speaking = self._paused = self._in_turn = False

    def _act(self, action: Callable[[], Awaitable[None]]) -> None:
        self.frames.append(ActionFrame(action))

    async def _set_pause(self, seconds: float) -> None:
        self._engines.llm.pause_seconds = seconds

    async def _set_tools(self, called: bool) -> None:
        self._engines.calls_tools = called

    async def _restart_llm(self) -> None:
        await self._engines.lose("llm")
        await self._engines.start()

    async def _settle(self) -> None:
        """Wait until the service has nothing to do, or waits for a slow or lost engine."""
        for _ in range(600):
            await asyncio.sleep(0.01)
            if self._idle() or self._engines.llm.pause_seconds:
                return


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_next_question_gets_its_own_complete_reply_once(steps: list[str]) -> None:
    asyncio.run(_run(steps))


async def _run(steps: list[str]) -> None:
    events = EventLog()
    orders: list[None] = []

    async def order(params: FunctionCallParams) -> None:
        """Order something."""
        orders.append(None)
        await params.result_callback("ordered")

    context = LLMContext(tools=ToolsSchema(standard_tools=[order]))
    async with faulty_engines() as engines:
        client = engines.client("llm")
        tts_client = engines.client("tts")
        outcomes: list[str] = []
        speculator = Speculator(
            True,
            TTSConfig(),
            client,
            tts_client,
            SessionSet(),
            lambda outcome, _: outcomes.append(outcome),
        )
        config = LLMConfig(pre_roll_seconds=0.04, recover_seconds=0.0)
        service = UltravoxWithContextService(
            config, client, speculator, events.callbacks(), context, transcripts=False
        )
        listener = Listener(service.reply_heard, events)
        script = Script(engines, lambda: not service._prefetcher.turn_running)
        for step in steps:
            script.add(step)
        script.finish()
        await run_test(Pipeline([Actions(), service, listener]), frames_to_send=script.frames)
        await tts_client.close()
        assert not any(session.running for session in engines.llm.sessions)
    replies = [text for text in listener.responses if LAST_QUESTION in text]
    assert len(replies) == 1 and replies[0].endswith("Goodbye."), listener.responses
    assert listener.responses[-1] == replies[0]
    assert not listener.overlapping
    for text, audio_bytes in zip(listener.responses, listener.questions, strict=True):
        named = re.search(r"and (\d+) bytes", text)
        assert named is None or int(named[1]) == audio_bytes, "the reply to another question"
    submitted = sum(event.startswith("submitted") for event in events.events)
    assert len(listener.responses) <= submitted, "a reply without a question"
    assert outcomes.count("taken") <= submitted
    assert len(orders) <= submitted, "a tool ran for an answer that was discarded"
