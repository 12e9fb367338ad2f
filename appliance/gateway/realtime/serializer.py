"""Plugs the Realtime protocol into Pipecat's transport, with the limits of wire.py.

Pipecat's own serializers make one message of a frame. Here, a frame can cause several events or
none, and the session reports more. So all events go through one queue, which keeps their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.serializers.base_serializer import FrameSerializer

from appliance.errors import AudioDropped, SessionEnded, TooFast
from appliance.gateway.dc_offset import OffsetFilter
from appliance.gateway.input_pace import InputPace
from appliance.gateway.rate_limit import TokenBucket
from appliance.gateway.realtime import client_events, server_events
from appliance.gateway.realtime.client_events import AudioAppend, AudioCommit, RefusedEvent
from appliance.gateway.realtime.config import SessionConfig
from appliance.gateway.realtime.resampler import InputResampler, to_input_rate
from appliance.gateway.realtime.server_events import Event
from appliance.gateway.realtime.state import RealtimeState
from appliance.gateway.realtime.tools import ToolLimits
from appliance.gateway.reply_observer import ReplyObserver
from appliance.gateway.wire import MESSAGES_BURST, MESSAGES_PER_SECOND
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import Settings
from appliance.tasks import spawn

MAX_MODEL_CHARS = 100
DROP_REPORT_SECONDS = 5.0  # between two reports that audio was dropped
BETA_HEADER = "realtime=v1"  # value of the header OpenAI-Beta


@dataclass(frozen=True, slots=True)
class RealtimeRequest:
    """What a Realtime client asks for when it connects.

    model  the name that it gives the model; it selects nothing
    beta   whether it wants the beta version of the protocol
    """

    model: str = ""
    beta: bool = False

    @classmethod
    def of(cls, model: str, beta_header: str) -> RealtimeRequest:
        """Return the request with this `model` parameter and this value of `OpenAI-Beta`."""
        name = "".join(char for char in model[:MAX_MODEL_CHARS] if char.isprintable())
        return cls(name, BETA_HEADER in (each.strip() for each in beta_header.split(",")))


@dataclass(frozen=True, slots=True)
class RealtimeHooks:
    """What the serializer asks of its session.

    send          sends a text message to the client
    on_violation  ends the session with this error
    on_audio      counts the direction, "in" or "out", and the size in bytes of passing PCM
    greet         says the greeting, unless it was said
    """

    send: Callable[[str], Awaitable[None]]
    on_violation: Callable[[SessionEnded], None]
    on_audio: Callable[[str, int], None]
    greet: Callable[[], Awaitable[None]]


class RealtimeSerializer(FrameSerializer, ReplyObserver):
    """Translates between one Realtime client and the pipeline of its session."""

    def __init__(
        self,
        name: str,
        request: RealtimeRequest,
        settings: Settings,
        hooks: RealtimeHooks,
        voices: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name`: of the session. `voices`: the client may choose one of them."""
        super().__init__()
        gateway = settings.gateway
        config = SessionConfig(
            request.model or "appliance",
            settings.tts.voice,
            settings.journal.transcripts,
            gateway.realtime_client_settings,
            (settings.tts.voice, *voices),
            ToolLimits(frozenset(settings.llm.tools), settings.llm.context_tokens),
        )
        self._state = RealtimeState(
            name,
            config,
            int(time.time() + gateway.session_seconds),
            settings.llm.max_utterance_seconds,
            to_input_rate,
            beta=request.beta,
            greeting=bool(settings.llm.greeting),
        )
        self._beta = request.beta
        self._hooks = hooks
        self._clock = clock
        self._pace = InputPace(gateway.pace_ratio, gateway.pace_burst_seconds)
        self._message_limit = TokenBucket(MESSAGES_PER_SECOND, MESSAGES_BURST)
        self._resampler = InputResampler()
        self._offset = OffsetFilter()
        self._queue: deque[Event] = deque()
        self._sending = asyncio.Lock()
        self._numbers = 0
        self._drop_reported_at = -DROP_REPORT_SECONDS
        self._open = False
        self._closed = False

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Greet the client with `session.created`. Pipecat calls this twice."""
        if not self._open:
            self._open = True
            await self._emit(self._state.opened())

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return the frame for the pipeline, or None. After a violation it is always None."""
        if self._closed:
            return None
        event_id, counted = "", False
        try:
            if not isinstance(data, str):
                raise client_events.invalid("it is binary")
            event = client_events.decode(data)
            event_id = event.event_id
            if isinstance(event, AudioAppend):
                return await self._audio_frame(event)
            counted = True
            self._count_message()
            if isinstance(event, AudioCommit) and self._state.config.manual:
                with contextlib.suppress(RefusedEvent):  # the buffer is full
                    self._state.append(self._offset.remove(self._resampler.flush()))
            events, frame = self._state.handle(event)
            await self._emit(events)
            return frame  # all frames take this way, so that they stay in order
        except RefusedEvent as refused:
            if counted or self._may_send_more():
                await self._refuse(refused, event_id)
        except SessionEnded as problem:
            self._end(problem)
        return None

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Queue the events that follow from a frame. Return None: they are sent here."""
        if isinstance(frame, OutputAudioRawFrame):
            self._hooks.on_audio("out", len(frame.audio))
            await self._emit(self._state.responses.audio(frame.audio))
        elif isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            await self._emit(self._translate(frame.message))
        return None

    def reply_started(self, spoken: bool) -> None:
        self._emit_later(self._state.reply_started(spoken))

    def response_begun(self, response_id: str) -> None:
        self._state.responses.response_begun(response_id)

    def reply_failed(self, reason: str) -> None:
        self._state.responses.reply_failed(reason)

    def tool_called(self, call_id: str, name: str, arguments: str) -> None:
        self._emit_later(self._state.responses.tool_called(call_id, name, arguments))

    def tool_timed_out(self) -> None:
        self._emit_later(self._state.responses.tool_timed_out())

    def phrase(self, text: str) -> None:
        self._emit_later(self._state.responses.phrase(text))

    def reply_ended(self, interrupted: bool, heard: str) -> None:
        self._emit_later(self._state.responses.reply_ended(interrupted, heard))

    def stopped(self, number: int) -> None:
        self._state.responses.stopped(number)

    def notice_ended(self) -> None:
        self._emit_later(self._state.responses.notice_ended())

    def transcribed(self, text: str) -> None:
        self._emit_later(self._state.user_input.transcribed(text))

    def _count_message(self) -> None:
        if not self._message_limit.take(1, self._clock()):
            raise TooFast

    async def _audio_frame(self, event: AudioAppend) -> Frame | None:
        pcm = self._resampler.convert(event.pcm)
        self._hooks.on_audio("in", len(pcm))
        if self._state.config.manual:
            self._pace.charge(pcm, self._clock())
            self._state.append(self._offset.remove(pcm))
            return None
        if self._state.greets():
            await self._hooks.greet()
        dropped = self._pace.dropped_bytes
        pcm = self._state.append(self._pace.receive(pcm, self._clock()))
        if self._pace.dropped_bytes > dropped:
            await self._report_drop(event.event_id)
        return InputAudioRawFrame(self._offset.remove(pcm), INPUT_SAMPLE_RATE, 1) if pcm else None

    async def _report_drop(self, event_id: str) -> None:
        """Say that audio was dropped, but not for each piece of it."""
        now = self._clock()
        if now >= self._drop_reported_at + DROP_REPORT_SECONDS:
            self._drop_reported_at = now
            await self._refuse(RefusedEvent(AudioDropped()), event_id)

    async def _refuse(self, refused: RefusedEvent, event_id: str) -> None:
        problem = refused.problem
        answer = server_events.error(
            str(problem),
            problem.reason,
            refused.param,
            refused.event_id or event_id,
            problem.advice,
        )
        await self._emit([answer])

    def _may_send_more(self) -> bool:
        """Count an event that is refused. Return whether the session goes on."""
        try:
            self._count_message()
        except TooFast as problem:
            self._end(problem)
            return False
        return True

    def _end(self, problem: SessionEnded) -> None:
        self._closed = True
        self._hooks.on_violation(problem)

    def _translate(self, message: Any) -> list[Event]:
        """Return the events for an RTVI message of Pipecat: only turns are taken from there."""
        match message.get("type") if isinstance(message, dict) else None:
            case "user-started-speaking":
                return self._state.user_input.speech_started()
            case "user-stopped-speaking":
                return self._state.user_input.speech_stopped()
        return []

    def _emit_later(self, events: list[Event]) -> None:
        self._queue.extend(events)
        if events:
            spawn(self._drain(), "realtime events")

    async def _emit(self, events: list[Event]) -> None:
        """Send events, after those that are queued.

        Pipecat cancels its tasks when the bot is interrupted. Events of others must not be lost
        then, so a task of its own sends them.
        """
        self._queue.extend(events)
        if events:
            await asyncio.shield(spawn(self._drain(), "realtime events"))

    async def _drain(self) -> None:
        async with self._sending:
            while self._queue:
                self._numbers += 1
                text = server_events.encode(self._queue.popleft(), self._numbers, self._beta)
                if text is not None:
                    await self._hooks.send(text)
