"""One session: the pipeline of one client, from its first frame to the close of its WebSocket.

Start reading here. `Session._build_pipeline` connects all parts of the gateway:

    microphone ──▶ transport.input ──▶ voice activity ──▶ interruption gate ──▶ user aggregator ──┐
                   wire, transport     voice_activity     interruption_gate     turn_taking       │
                                                                                                  │
                ┌── transport.output ◀── TTS service ◀── phrase aggregator ◀── LLM service ◀──────┘
                │   transport            tts_service     phrase_aggregator     llm_service
                │
                └──▶ heard processor ──▶ assistant aggregator
                     heard_processor     (Pipecat's context)

The lower line names the module. The services talk to the engine processes `llm` and `tts` through
`link`. What a processor reports goes to `SessionEvents` (session_events), which passes it on: to
the metrics and the log (session_monitor), and to the client's protocol (reply_observer).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from pipecat.frames.frames import OutputTransportMessageUrgentFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_text_processor import LLMTextProcessor
from pipecat.processors.frameworks.rtvi.frames import RTVIServerMessageFrame
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.workers.runner import WorkerRunner

from appliance import journal
from appliance.errors import (
    EngineFailed,
    HungUp,
    IdleTooLong,
    LastedTooLong,
    PipelineFailed,
    SessionEnded,
)
from appliance.gateway.direct_audio import activity_seconds, exclude_audio_from_observers
from appliance.gateway.frames import ClientGreetingFrame, ClientToolCallFrame
from appliance.gateway.generation.llm_service import UltravoxWithContextService
from appliance.gateway.generation.speculation import Speculator
from appliance.gateway.hang_up import GracefulHangUp
from appliance.gateway.realtime.serializer import (
    RealtimeHooks,
    RealtimeRequest,
    RealtimeSerializer,
)
from appliance.gateway.reply_observer import ReplyObserver
from appliance.gateway.session_events import SessionEvents
from appliance.gateway.session_monitor import SessionMonitor
from appliance.gateway.session_resources import SessionResources
from appliance.gateway.session_socket import SessionSocket
from appliance.gateway.speech.heard import HeardText
from appliance.gateway.speech.heard_processor import HeardProcessor
from appliance.gateway.speech.phrase_aggregator import PhraseAggregator
from appliance.gateway.speech.reply_start import ReplyStart
from appliance.gateway.speech.tts_service import KokoroTTSService, SpeechHooks
from appliance.gateway.transport import OutputOptions, PacedTransport, output_lead_seconds
from appliance.gateway.turns.echo import EchoDetector
from appliance.gateway.turns.interruption_gate import InterruptionGate, PauseHooks
from appliance.gateway.turns.own_words import is_own
from appliance.gateway.turns.session_vad import SessionVAD
from appliance.gateway.turns.turn_taking import context_aggregators, user_aggregator_params
from appliance.gateway.turns.voice_activity import VoiceActivityProcessor
from appliance.gateway.wire import GuardedSerializer, rtvi_observer_params
from appliance.link.client import EngineClient
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.tasks import spawn

log = journal.get()


class Session:
    """One connected client and its pipeline."""

    def __init__(
        self,
        name: str,
        socket: SessionSocket,
        resources: SessionResources,
        realtime: RealtimeRequest | None = None,
    ) -> None:
        """`realtime`: the request of a client that speaks OpenAI's Realtime protocol."""
        self._name = name
        self._socket = socket
        self._resources = resources
        self._settings = resources.settings
        self._metrics = resources.metrics
        self._greets = bool(self._settings.llm.greeting)
        self._hang_up = GracefulHangUp(
            close=self._close_after_playback, cut_off=lambda: self.end(None)
        )
        self._monitor = SessionMonitor(
            self._metrics, self._settings.journal.transcripts, self._send_message
        )
        self._events = SessionEvents(self._monitor, self._hang_up)
        self._run_task: asyncio.Task[object] | None = None
        serializer, self._events.observer = self._create_serializer(realtime)
        self._worker, self._llm = self._build_pipeline(serializer, is_realtime=realtime is not None)

    # --- The pipeline

    def _build_pipeline(
        self, serializer: FrameSerializer, is_realtime: bool
    ) -> tuple[PipelineWorker, UltravoxWithContextService]:
        """Create the processors and connect them, in the order of the module's drawing."""
        settings, resources = self._settings, self._resources
        idle_seconds = settings.gateway.idle_seconds
        llm_client, tts_client = resources.engine_client("llm"), resources.engine_client("tts")
        vad, echo = resources.models.vad_analyzer(), resources.models.echo_detector()
        heard_text = HeardText(settings.tts.speed)
        reply_start = ReplyStart(settings.tts.start_delay_seconds, resources.busy)
        transport = self._create_transport(serializer, is_realtime, echo, reply_start)
        self._tell_detector_about_bot(vad, echo, transport)
        speculator = Speculator(
            settings.llm.speculation,
            settings.tts,
            llm_client=llm_client,
            tts_client=tts_client,
            waiting=resources.waiting,
            on_outcome=self._monitor.speculation_ended,
            names=resources.names,
            reply_start=reply_start,
        )
        context = LLMContext(tools=resources.tools)
        user, assistant = context_aggregators(
            context,
            user_aggregator_params(settings.turn, resources.models, self._monitor.turn_ended_by),
        )
        llm = UltravoxWithContextService(
            settings.llm,
            llm_client,
            speculator,
            callbacks=self._events.turn_callbacks(),
            context=context,
            transcripts=settings.journal.transcripts,
        )
        hooks = self._speech_hooks(llm_client, heard_text, reply_start, speculator)
        tts = KokoroTTSService(
            settings.tts,
            tts_client,
            speak=speculator.speak,
            hooks=hooks,
            hold_message=resources.hold_message,
            recover_seconds=settings.llm.recover_seconds,
        )
        pipeline = Pipeline(
            [
                transport.input(),
                VoiceActivityProcessor(settings.turn, vad, activity_seconds(idle_seconds)),
                self._create_interruption_gate(transport, heard_text, echo),
                user,
                llm,
                LLMTextProcessor(text_aggregator=PhraseAggregator(settings.tts, resources.names)),
                tts,
                transport.output(),
                self._create_heard_processor(transport, heard_text),
                assistant,
            ]
        )
        worker = _create_worker(pipeline, idle_seconds)
        self._handle_events(transport, worker)
        return worker, llm

    def _create_serializer(
        self, realtime: RealtimeRequest | None
    ) -> tuple[FrameSerializer, ReplyObserver]:
        """Return what speaks the client's protocol, and what it has to know of the replies."""
        settings = self._settings
        if realtime is None:
            guarded = GuardedSerializer(
                settings.gateway,
                on_violation=self.end,
                on_audio=self._events.count_audio,
                on_answer=self._answer,
                transcripts=settings.journal.transcripts,
            )
            return guarded, ReplyObserver()
        hooks = RealtimeHooks(
            send=self._socket.send_event,
            on_violation=self.end,
            on_audio=self._events.count_audio,
            greet=self._greet,
        )
        serializer = RealtimeSerializer(
            self._name, realtime, settings, hooks, self._resources.voices
        )
        return serializer, serializer

    def _create_transport(
        self,
        serializer: FrameSerializer,
        is_realtime: bool,
        echo: EchoDetector | None,
        reply_start: ReplyStart,
    ) -> PacedTransport:
        settings = self._settings
        return PacedTransport(
            self._socket,
            serializer,
            OutputOptions(
                output_lead_seconds(settings),
                on_audio=echo.sent if echo else None,
                on_phrase=self._events.observer.phrase,
                hold_reply=reply_start.wait,
                drops_when_paused=not is_realtime,
                activity_seconds=activity_seconds(settings.gateway.idle_seconds),
            ),
        )

    def _tell_detector_about_bot(
        self, vad: SessionVAD, echo: EchoDetector | None, transport: PacedTransport
    ) -> None:
        """Let the detector of the user's voice know when the bot speaks, and how it sounds."""
        if echo is not None:
            vad.is_echo = lambda window, voice: echo.is_echo(window, vad.arrived_at, voice)
        vad.is_bot_busy = lambda: self._events.activity.is_busy(transport.playing)

    def _create_interruption_gate(
        self, transport: PacedTransport, heard_text: HeardText, echo: EchoDetector | None
    ) -> InterruptionGate:
        turn = self._settings.turn
        return InterruptionGate(
            turn.interruption == "voice" or turn.half_duplex,
            self._events.activity,
            PauseHooks(
                paused=self._monitor.bot_paused,
                decided=self._monitor.pause_ended,
                playing=lambda: transport.playing,
                said=lambda: heard_text.said(transport.unplayed_seconds),
                is_own=lambda text: (
                    echo is not None and is_own(text, heard_text.latest, echo.detected)
                ),
            ),
        )

    def _create_heard_processor(
        self, transport: PacedTransport, heard_text: HeardText
    ) -> HeardProcessor:
        return HeardProcessor(
            heard_text,
            unplayed_seconds=lambda: transport.unplayed_seconds,
            on_speaking=self._monitor.mark("sent"),
            on_heard=self._on_heard,
            on_notice=self._events.observer.notice_ended,
            on_client_tool=self._on_client_tool,
            on_client_stop=self._events.observer.stopped,
        )

    def _speech_hooks(
        self,
        llm_client: EngineClient,
        heard_text: HeardText,
        reply_start: ReplyStart,
        speculator: Speculator,
    ) -> SpeechHooks:
        async def ask(request: Callable[[], Awaitable[None]]) -> None:
            if self._settings.llm.hold_for_first_phrase:
                with contextlib.suppress(EngineFailed):  # the turn reports the failure
                    await request()

        def first_audio() -> None:
            speculator.reply_audible()
            self._monitor.mark("first_audio")()

        return SpeechHooks(
            first_phrase=self._monitor.mark("first_phrase"),
            first_audio=first_audio,
            spoken=heard_text.measure,
            complete=reply_start.audio_complete,
            failed=self._monitor.engine_failed("tts"),
            skipped=self._events.phrase_skipped,
            hold=lambda: ask(llm_client.hold),
            resume=lambda: ask(llm_client.resume),
        )

    def _on_client_tool(self, call: ClientToolCallFrame) -> None:
        self._events.observer.tool_called(call.call_id, call.tool, call.arguments)
        self._llm.client_tool_called()

    def _on_heard(self, text: str, interrupted: bool, was_speaking: bool) -> None:
        self._events.activity.replying = False
        self._llm.reply_heard(text)
        self._events.heard(text, interrupted, was_speaking)

    def _handle_events(self, transport: PacedTransport, worker: PipelineWorker) -> None:
        @transport.event_handler("on_client_disconnected")  # type: ignore[untyped-decorator]
        async def on_client_disconnected(_transport: object, _socket: object) -> None:
            self.end(None)

        @worker.rtvi.event_handler("on_client_ready")  # type: ignore[untyped-decorator]
        async def on_client_ready(_rtvi: object) -> None:
            await self._greet()

        @worker.rtvi.event_handler("on_client_message")  # type: ignore[untyped-decorator]
        async def on_client_message(_rtvi: object, _message: object) -> None:
            self._monitor.playback_started()  # the only client-message that wire.py passes on

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

    async def _greet(self) -> None:
        greets, self._greets = self._greets, False  # a client may ask for it more than once
        if greets:
            await self._llm.queue_frame(ClientGreetingFrame())

    async def _answer(self, message: dict[str, Any]) -> None:
        """Send an RTVI message to the client."""
        await self._worker.queue_frame(OutputTransportMessageUrgentFrame(message=message))

    def _send_message(self, data: dict[str, object]) -> None:
        spawn(self._worker.queue_frame(RTVIServerMessageFrame(data=data)), "server message")

    # --- The course of the session

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

    def silent_seconds(self, now: float) -> float:
        """Return how long neither user nor bot have spoken. `now` is in monotonic seconds."""
        return self._events.silent_seconds(now)

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


def _create_worker(pipeline: Pipeline, idle_seconds: float) -> PipelineWorker:
    """Return a session's worker, which reports when nobody spoke for `idle_seconds`."""
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=INPUT_SAMPLE_RATE,
            audio_out_sample_rate=OUTPUT_SAMPLE_RATE,
            enable_metrics=True,
            enable_usage_metrics=True,
        ),
        rtvi_observer_params=rtvi_observer_params(),
        idle_timeout_secs=idle_seconds,
        cancel_runner_on_idle_timeout=False,
        enable_turn_tracking=False,
        check_dangling_tasks=False,
        processor_unusable_policy=ProcessorUnusablePolicy.CANCEL,
    )
    exclude_audio_from_observers(worker)
    return worker
