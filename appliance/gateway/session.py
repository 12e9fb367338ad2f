"""One session: the pipeline of one client, from its first frame to the close of its WebSocket.

Start reading here. `Session._build_pipeline` connects all parts of the gateway:

    microphone ──▶ transport.input ──▶ voice activity ──▶ interruption gate ──▶ user aggregator ──┐
                   wire, transport     voice_activity     interruption          turn_taking       │
                                                                                                  │
                ┌── transport.output ◀── TTS service ◀── phrase aggregator ◀── LLM service ◀──────┘
                │   paced playback       tts_service     tts_service           llm_service
                │
                └──▶ heard processor ──▶ assistant aggregator
                     heard               (Pipecat's context)

The services talk to the engine processes `llm` and `tts` through `link`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

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
from appliance.gateway.interruption_gate import BotActivity, InterruptionGate, PauseHooks
from appliance.gateway.llm_service import UltravoxWithContextService
from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.reply import ReplyEndFrame, TurnCallbacks
from appliance.gateway.speculation import Speculator, WaitingReplies
from appliance.gateway.transport import PacedTransport, output_lead_seconds
from appliance.gateway.tts_service import KokoroTTSService, PhraseAggregator, SpeechHooks
from appliance.gateway.turn_report import SessionMonitor
from appliance.gateway.turn_taking import TurnModels, user_aggregator_params
from appliance.gateway.voice_activity import VoiceActivityProcessor
from appliance.gateway.wire import GuardedSerializer
from appliance.link.client import EngineClient
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.processes import socket_path
from appliance.settings import Settings
from appliance.tasks import spawn

GOODBYE_SECONDS = 60.0  # longer than the longest reply takes to play
MAX_CLOSE_REASON_CHARS = 120  # the WebSocket limit is 123 bytes
log = journal.get()


@dataclass(frozen=True, slots=True)
class SessionResources:
    """Resources that all sessions of the process share.

    `hold_message` is 24 kHz PCM that is played when an engine is lost; it may be empty.
    """

    settings: Settings
    metrics: GatewayMetrics
    models: TurnModels
    tools: ToolsSchema
    hold_message: bytes = b""
    waiting: WaitingReplies = field(default_factory=WaitingReplies)

    def engine_client(self, name: str) -> EngineClient:
        """Return a new client of the engine `name`."""
        return EngineClient(name, socket_path(self.settings.paths.run, name))


class Session:
    """One connected client and its pipeline."""

    def __init__(self, name: str, socket: SessionSocket, resources: SessionResources) -> None:
        self._name = name
        self._socket = socket
        self._resources = resources
        self._settings = resources.settings
        self._metrics = resources.metrics
        self._greeting = self._settings.llm.greeting
        self._monitor = SessionMonitor(
            self._metrics, self._settings.journal.transcripts, self._send_message
        )
        self._hang_up = GracefulHangUp(
            close=self._close_after_playback, cut_off=lambda: self.end(None)
        )
        self._activity = BotActivity()
        self._run_task: asyncio.Task[object] | None = None
        self._worker = self._build_pipeline()

    async def run(self) -> SessionEnded | None:
        """Run the session to its end. Return the reason, or None if the client left."""
        structlog.contextvars.bind_contextvars(session=self._name)
        self._run_task = asyncio.current_task()
        started_at = time.monotonic()
        log.info("session started")
        self._metrics.sessions_active.inc()
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
            self._hang_up.cancel()
            self._monitor.close()
            await self._socket.close()
            self._report_end(time.monotonic() - started_at)
        return self._socket.ending

    def end(self, reason: SessionEnded | None) -> None:
        """End the session at once. The first reason counts; None means that the client left."""
        self._socket.ending = self._socket.ending or reason
        spawn(self._close(), "session end", on_failure=lambda _error: self._abort())

    async def _close(self) -> None:
        if self._socket.ending is not None:
            await self._socket.close()
        await self._worker.cancel()

    def _abort(self) -> None:
        """Cancel `run`, because the pipeline could not be cancelled."""
        if self._run_task is not None:
            self._run_task.cancel()

    def _close_after_playback(self) -> None:
        """End the session when all queued audio has been played."""
        self._socket.ending = self._socket.ending or HungUp()
        spawn(
            self._worker.stop_when_done(),
            "session hang-up",
            on_failure=lambda _error: self.end(PipelineFailed()),
        )

    def _report_end(self, seconds: float) -> None:
        ending = self._socket.ending
        reason = ending.reason if ending else "left"
        self._metrics.sessions_active.dec()
        self._metrics.sessions.labels(reason).inc()
        self._metrics.session_duration_seconds.observe(seconds)
        log.info("session ended", reason=reason, duration_seconds=round(seconds, 3))

    def _build_pipeline(self) -> PipelineWorker:
        settings, resources = self._settings, self._resources
        lead_seconds = output_lead_seconds(settings)
        serializer = GuardedSerializer(
            settings.gateway,
            on_violation=self.end,
            on_audio=self._monitor.count_audio,
            transcripts=settings.journal.transcripts,
        )
        vad, echo = resources.models.vad_analyzer(), resources.models.echo_detector()
        if echo is not None:
            vad.is_echo = lambda window: echo.is_echo(window, time.monotonic())
        transport = PacedTransport(
            self._socket, serializer, lead_seconds, on_audio=echo.sent if echo else None
        )
        llm_client = resources.engine_client("llm")
        llm_context = LLMContext(tools=resources.tools)
        tts_client = resources.engine_client("tts")
        self._speculator = Speculator(
            settings.llm.speculation,
            settings.tts,
            llm_client,
            tts_client,
            resources.waiting,
            self._monitor.speculation_ended,
        )
        self._llm = UltravoxWithContextService(
            settings.llm,
            llm_client,
            self._speculator,
            self._turn_callbacks(),
            llm_context,
            settings.journal.transcripts,
        )
        heard_text = HeardText(settings.tts.speed, lead_seconds)
        tts = KokoroTTSService(
            settings.tts,
            tts_client,
            self._speculator.speak,
            self._speech_hooks(llm_client, heard_text),
            resources.hold_message,
            settings.llm.recover_seconds,
        )
        aggregators = LLMContextAggregatorPair(
            llm_context,
            user_params=user_aggregator_params(
                settings.turn, resources.models, self._monitor.turn_ended_by
            ),
        )
        heard = HeardProcessor(
            heard_text,
            ReplyEndFrame,
            self._monitor.mark("sent"),
            self._on_heard,
        )
        gate = InterruptionGate(
            settings.turn.interruption == "voice" or settings.turn.half_duplex,
            self._activity,
            PauseHooks(
                paused=self._monitor.bot_paused,
                decided=self._monitor.pause_ended,
                playing=lambda: transport.playing,
                said=lambda: heard_text.said,
            ),
        )
        pipeline = Pipeline(
            [
                transport.input(),
                VoiceActivityProcessor(settings.turn, vad),
                gate,
                aggregators.user(),
                self._llm,
                LLMTextProcessor(text_aggregator=PhraseAggregator(settings.tts)),
                tts,
                transport.output(),
                heard,
                aggregators.assistant(),
            ]
        )
        worker = PipelineWorker(
            pipeline,
            params=PipelineParams(
                audio_in_sample_rate=INPUT_SAMPLE_RATE,
                audio_out_sample_rate=OUTPUT_SAMPLE_RATE,
                enable_metrics=True,
                enable_usage_metrics=True,
            ),
            rtvi_observer_params=rtvi_observer_params(),
            idle_timeout_secs=settings.gateway.idle_seconds,
            cancel_runner_on_idle_timeout=False,
            enable_turn_tracking=False,
            check_dangling_tasks=False,
            processor_unusable_policy=ProcessorUnusablePolicy.CANCEL,
        )
        self._handle_events(transport, worker)
        return worker

    def _handle_events(self, transport: PacedTransport, worker: PipelineWorker) -> None:
        @transport.event_handler("on_client_disconnected")  # type: ignore[untyped-decorator]
        async def on_client_disconnected(_transport: object, _socket: object) -> None:
            self.end(None)

        @worker.rtvi.event_handler("on_client_ready")  # type: ignore[untyped-decorator]
        async def on_client_ready(_rtvi: object) -> None:
            greeting, self._greeting = self._greeting, ""  # a client may send it more than once
            if greeting:
                await worker.queue_frame(TTSSpeakFrame(greeting))

        @worker.rtvi.event_handler("on_client_message")  # type: ignore[untyped-decorator]
        async def on_client_message(_rtvi: object, _message: object) -> None:
            self._monitor.playback_started()  # the only client-message that wire.py accepts

        @worker.event_handler("on_idle_timeout")  # type: ignore[untyped-decorator]
        async def on_idle_timeout(_worker: object) -> None:
            self.end(IdleTooLong(seconds=self._settings.gateway.idle_seconds))

        @worker.event_handler("on_pipeline_error")  # type: ignore[untyped-decorator]
        async def on_pipeline_error(_worker: object, frame: object) -> None:
            processor = getattr(frame, "processor", None)
            usable = getattr(processor, "is_usable", True)
            log.warning("pipeline error", stage=type(processor).__name__, final=not usable)
            if not usable:
                self.end(PipelineFailed())

    def _turn_callbacks(self) -> TurnCallbacks:
        monitor, activity = self._monitor, self._activity

        def turn_submitted(kind: str, speech_seconds: float) -> None:
            activity.replying = True
            monitor.turn_submitted(kind, speech_seconds)

        def turn_dropped(outcome: str) -> None:
            activity.replying = False
            monitor.turn_dropped(outcome)

        return TurnCallbacks(
            on_speech_started=monitor.speech_started,
            on_speech_stopped=monitor.speech_stopped,
            on_turn_submitted=turn_submitted,
            on_first_token=monitor.mark("first_token"),
            on_tool_call=monitor.tool_called,
            on_generated=monitor.generated,
            on_hang_up=self._hang_up.begin,
            on_transcript=monitor.transcribed,
            on_engine_failed=monitor.engine_failed("llm"),
            on_turn_dropped=turn_dropped,
        )

    def _speech_hooks(self, llm_client: EngineClient, heard_text: HeardText) -> SpeechHooks:
        hold_enabled = self._settings.llm.hold_for_first_phrase

        async def hold() -> None:
            if hold_enabled:
                with contextlib.suppress(EngineFailed):  # the turn reports the failure
                    await llm_client.hold()

        async def resume() -> None:
            if hold_enabled:
                with contextlib.suppress(EngineFailed):
                    await llm_client.resume()

        mark_first_audio = self._monitor.mark("first_audio")

        def first_audio() -> None:
            self._speculator.reply_audible()
            mark_first_audio()

        return SpeechHooks(
            first_phrase=self._monitor.mark("first_phrase"),
            first_audio=first_audio,
            spoken=heard_text.measure,
            failed=self._monitor.engine_failed("tts"),
            hold=hold,
            resume=resume,
        )

    def _on_heard(self, text: str, interrupted: bool, was_speaking: bool) -> None:
        self._activity.replying = False
        self._llm.reply_heard(text)
        self._monitor.heard(text, interrupted, was_speaking)
        self._hang_up.heard(interrupted)

    def _send_message(self, data: dict[str, object]) -> None:
        spawn(self._worker.queue_frame(RTVIServerMessageFrame(data=data)), "server message")


def rtvi_observer_params() -> RTVIObserverParams:
    """Return the settings that select the RTVI messages Pipecat sends to clients."""
    return RTVIObserverParams(
        metrics_enabled=False,  # these messages name processors and models
        user_llm_enabled=False,
        system_logs_enabled=False,
    )


class SessionSocket(WebSocket):
    """The client's WebSocket. `close` may be called repeatedly; the first call closes it."""

    ending: SessionEnded | None = None

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the WebSocket, with the code and reason of `ending` if it is set."""
        if self.application_state == WebSocketState.DISCONNECTED:
            return
        if self.ending is not None:
            code = self.ending.close_code
            reason = f"{self.ending.reason}: {self.ending}"[:MAX_CLOSE_REASON_CHARS]
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the client has closed it
            await super().close(code, reason)


class GracefulHangUp:
    """Ends the session after the bot has said goodbye.

    close    end the session when all queued audio has been played
    cut_off  end the session at once; called if a step takes longer than GOODBYE_SECONDS
    """

    def __init__(self, close: Callable[[], None], cut_off: Callable[[], None]) -> None:
        self._close = close
        self._cut_off = cut_off
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def begin(self, speaking: bool) -> None:
        """Begin to hang up: after the goodbye if the bot is `speaking`, otherwise at once."""
        if speaking:
            self._set_timer(self._start_closing)
        else:
            self._start_closing()

    def heard(self, interrupted: bool) -> None:
        """Note that the bot has finished speaking. An interruption cancels the hang-up."""
        if self._timer is None or self._closing:
            return
        self.cancel()
        if not interrupted:
            self._start_closing()

    def cancel(self) -> None:
        """Stop the timer, because the session has ended or continues."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_closing(self) -> None:
        self._closing = True
        self._set_timer(self._cut_off)
        self._close()

    def _set_timer(self, callback: Callable[[], None]) -> None:
        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(GOODBYE_SECONDS, callback)
