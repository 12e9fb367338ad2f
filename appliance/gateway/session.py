"""One call: the only place that knows every room and draws the arrow between them.

transport -> user turns -> llm -> phrases -> tts -> transport -> heard -> context
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.aggregators.llm_text_processor import LLMTextProcessor
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame
from pipecat.processors.frameworks.rtvi.observer import RTVIObserverParams
from pipecat.workers.runner import WorkerRunner
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from appliance import journal
from appliance.errors import (
    EngineFailed,
    HungUp,
    IdleTooLong,
    LastedTooLong,
    PipelineFailed,
    SessionEnded,
)
from appliance.gateway.heard import HeardProcessor, HeardText
from appliance.gateway.llm_service import UltravoxWithContextService
from appliance.gateway.reply import AnswerEndFrame, TurnHooks
from appliance.gateway.transport import Pace, PacedTransport, lead_seconds
from appliance.gateway.tts_service import KokoroTTSService, PhraseAggregator, SpeechHooks
from appliance.gateway.turn_report import Monitor
from appliance.gateway.turn_taking import TurnModels, user_params
from appliance.gateway.wire import GuardedSerializer
from appliance.link.client import EngineClient
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.metrics import GatewayMeters
from appliance.settings import Settings

PATIENCE_SECONDS = 60.0  # more than the longest answer takes to be spoken


class Goodbye:
    """`hang_up` ends the call behind all that is still to be played, `cut_off` at once."""

    def __init__(self, hang_up: Callable[[], None], cut_off: Callable[[], None]) -> None:
        self._hang_up = hang_up
        self._cut_off = cut_off
        self._timer: asyncio.TimerHandle | None = None
        self._said = False

    def begins(self, speaking: bool) -> None:
        """The call is to end; `speaking` if there is a goodbye to wait for."""
        if speaking:
            self._set(self._ends)
        else:
            self._ends()

    def heard(self, interrupted: bool) -> None:
        """What the bot had to say was heard. A caller who interrupts a goodbye has more to say."""
        if self._timer is None or self._said:
            return
        self.close()
        if not interrupted:
            self._ends()

    def close(self) -> None:
        """The call is over, or goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ends(self) -> None:
        self._said = True
        self._set(self._cut_off)
        self._hang_up()

    def _set(self, then: Callable[[], None]) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, then)


log = journal.get()


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sessions of the process have in common. `patience`: 24 kHz PCM, may be empty."""

    settings: Settings
    meters: GatewayMeters
    models: TurnModels
    tools: ToolsSchema
    patience: bytes = b""

    def engine(self, name: str) -> EngineClient:
        """A connection of a session's own to an engine."""
        return EngineClient(name, engine_socket(self.settings, name))


def engine_socket(settings: Settings, name: str) -> Path:
    """Where the process `name` listens."""
    return settings.paths.run / f"{name}.sock"


class SessionSocket(WebSocket):
    """The caller's WebSocket. Whoever closes it, it closes once and with the session's reason."""

    ending: SessionEnded | None = None

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Closes with the code and reason of `ending`, if any."""
        if self.application_state == WebSocketState.DISCONNECTED:
            return
        if self.ending is not None:
            code, reason = self.ending.close_code, f"{self.ending.reason}: {self.ending}"[:120]
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the peer was faster
            await super().close(code, reason)


class Session:
    """A call from its first frame to the close of its socket."""

    def __init__(self, name: str, socket: SessionSocket, shared: Shared) -> None:
        self._name = name
        self._socket = socket
        self._shared = shared
        self._settings = shared.settings
        self._greeting = shared.settings.llm.greeting
        self._goodbye = Goodbye(self._hang_up, lambda: self.end(None))
        self._monitor = Monitor(shared.meters, shared.settings.journal.transcripts, self._show)
        self._worker = self._build()

    async def run(self) -> SessionEnded | None:
        """Holds the call; returns why we ended it, or None when the caller left."""
        structlog.contextvars.bind_contextvars(session=self._name)
        started = time.monotonic()
        log.info("session started")
        self._shared.meters.sessions_active.inc()
        runner = WorkerRunner(handle_sigint=False, check_dangling_tasks=False)
        deadline = asyncio.get_running_loop().call_later(
            self._settings.gateway.session_seconds,
            self.end,
            LastedTooLong(seconds=self._settings.gateway.session_seconds),
        )
        try:
            await runner.add_workers(self._worker)
            await runner.run()
        finally:
            deadline.cancel()
            self._goodbye.close()
            self._monitor.close()
            await self._socket.close()
            ending = self._socket.ending
            seconds = time.monotonic() - started
            meters = self._shared.meters
            meters.sessions_active.dec()
            meters.sessions.labels(ending.reason if ending else "left").inc()
            meters.session_duration_seconds.observe(seconds)
            log.info(
                "session ended",
                reason=ending.reason if ending else "left",
                duration_seconds=round(seconds, 3),
            )
        return ending

    def end(self, why: SessionEnded | None) -> None:
        """Ends the call, with this reason unless there is one already."""
        self._socket.ending = self._socket.ending or why
        self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        if self._socket.ending is not None:
            await self._socket.close()
        await self._worker.cancel()

    def _build(self) -> PipelineWorker:
        settings, shared = self._settings, self._shared
        lead = lead_seconds(settings)
        serializer = GuardedSerializer(
            settings.gateway,
            self.end,
            self._monitor.count_audio,
            words=settings.journal.transcripts,
        )
        transport = PacedTransport(self._socket, serializer, Pace(lead))
        thinker = shared.engine("llm")
        known = LLMContext(tools=shared.tools)
        self._llm = UltravoxWithContextService(
            settings.llm, thinker, self._turn_hooks(), known, settings.journal.transcripts
        )
        tts = KokoroTTSService(
            settings.tts,
            shared.engine("tts"),
            self._speech_hooks(thinker),
            shared.patience,
            settings.llm.recover_seconds,
        )
        context = LLMContextAggregatorPair(
            known,
            user_params=user_params(settings.turn, shared.models, self._monitor.turn_ended_by),
        )
        heard = HeardProcessor(
            HeardText(settings.tts.speed, lead),
            AnswerEndFrame,
            self._monitor.mark("sent"),
            self._heard,
        )
        worker = PipelineWorker(
            Pipeline(
                [
                    transport.input(),
                    context.user(),
                    self._llm,
                    LLMTextProcessor(text_aggregator=PhraseAggregator(settings.tts)),
                    tts,
                    transport.output(),
                    heard,
                    context.assistant(),
                ]
            ),
            params=PipelineParams(
                audio_in_sample_rate=INPUT_SAMPLE_RATE,
                audio_out_sample_rate=OUTPUT_SAMPLE_RATE,
                enable_metrics=True,
                enable_usage_metrics=True,
            ),
            rtvi_observer_params=RTVIObserverParams(
                metrics_enabled=False,  # would name processors and models to every caller
                user_llm_enabled=False,
                system_logs_enabled=False,
            ),
            idle_timeout_secs=settings.gateway.idle_seconds,
            cancel_runner_on_idle_timeout=False,
            enable_turn_tracking=False,
            check_dangling_tasks=False,
            processor_unusable_policy=ProcessorUnusablePolicy.CANCEL,
        )

        @transport.event_handler("on_client_disconnected")  # type: ignore[untyped-decorator]
        async def on_client_disconnected(_transport: object, _socket: object) -> None:
            self.end(None)

        @worker.rtvi.event_handler("on_client_ready")  # type: ignore[untyped-decorator]
        async def on_client_ready(_rtvi: object) -> None:
            greeting, self._greeting = self._greeting, ""  # however often the client is ready
            if greeting:
                await worker.queue_frame(TTSSpeakFrame(greeting))

        @worker.rtvi.event_handler("on_client_message")  # type: ignore[untyped-decorator]
        async def on_client_message(_rtvi: object, _message: object) -> None:
            self._monitor.sounds()  # the wire lets no other message of this kind through

        @worker.event_handler("on_idle_timeout")  # type: ignore[untyped-decorator]
        async def on_idle_timeout(_worker: object) -> None:
            self.end(IdleTooLong(seconds=settings.gateway.idle_seconds))

        @worker.event_handler("on_pipeline_error")  # type: ignore[untyped-decorator]
        async def on_pipeline_error(_worker: object, frame: object) -> None:
            processor = getattr(frame, "processor", None)
            usable = getattr(processor, "is_usable", True)
            log.warning("pipeline error", stage=type(processor).__name__, final=not usable)
            if not usable:
                self.end(PipelineFailed())

        return worker

    def _turn_hooks(self) -> TurnHooks:
        monitor = self._monitor
        return TurnHooks(
            speech_started=monitor.speech_started,
            speech_ended=monitor.speech_ended,
            asked=monitor.asked,
            first_token=monitor.mark("first_token"),
            called=monitor.called,
            generated=monitor.generated,
            hang_up=self._goodbye.begins,
            understood=monitor.understood,
            failed=monitor.failed("llm"),
            ended=monitor.ended,
        )

    def _speech_hooks(self, thinker: EngineClient) -> SpeechHooks:
        holding = self._settings.llm.hold_for_first_phrase

        async def hold() -> None:
            if holding:
                with contextlib.suppress(EngineFailed):  # the turn itself meets and reports it
                    await thinker.hold()

        async def resume() -> None:
            if holding:
                with contextlib.suppress(EngineFailed):
                    await thinker.resume()

        return SpeechHooks(
            first_phrase=self._monitor.mark("first_phrase"),
            first_audio=self._monitor.mark("first_audio"),
            failed=self._monitor.failed("tts"),
            hold=hold,
            resume=resume,
        )

    def _heard(self, text: str, interrupted: bool, was_speaking: bool) -> None:
        self._llm.reply_heard(text)
        self._monitor.heard(text, interrupted, was_speaking)
        self._goodbye.heard(interrupted)

    def _hang_up(self) -> None:
        self._socket.ending = self._socket.ending or HungUp()
        self._ending = asyncio.ensure_future(self._worker.stop_when_done())

    def _show(self, message: dict[str, object]) -> None:
        frame = RTVIServerMessageFrame(data=message)
        self._sending = asyncio.ensure_future(self._worker.queue_frame(frame))
