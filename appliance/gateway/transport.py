"""The WebSocket of one client as a Pipecat transport that sends audio at the pace of playback.

Audio is sent a short time before its playback: the lead. The lead hides short stalls of the machine
and the network. It is kept short, because an interruption can only drop audio that has not been
sent. The transport knows how much of the audio sent is not played yet; speech/heard.py computes
from it which words the user has heard.

The output can be paused while it is not decided whether the user interrupts the bot
(interruption_gate.py). Then it goes on from the start of the phrase in which playback stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipecat.frames.frames import (
    AggregatedTextFrame,
    ControlFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketClient,
    FastAPIWebsocketInputTransport,
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)
from starlette.websockets import WebSocket

from appliance.gateway.direct_audio import ACTIVITY_SECONDS, pass_audio
from appliance.gateway.frames import (
    PauseBotFrame,
    PhraseBrokenFrame,
    PhraseRestartedFrame,
    RepeatedPhraseEndFrame,
    RepeatedPhraseFrame,
    ReplyEndFrame,
    ResumeBotFrame,
    RewindFrame,
)
from appliance.gateway.playback_pacer import PlaybackPacer
from appliance.gateway.playout import PhraseEnd, PhraseStart, Playout
from appliance.gateway.wire import server_message
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.settings import Settings

PLAYED_CHECK_SECONDS = 0.04  # an interruption ends the wait for the end of playback this soon
BOT_PAUSED, BOT_RESUMED = "bot-paused", "bot-resumed"  # kinds of server messages


@dataclass
class _RepeatFrame(ControlFrame):
    """Makes the output send again what was missed, if nothing else is queued."""


@dataclass
class _InterruptedFrame(ControlFrame):
    """Comes first in the queue after an interruption: what comes before it was interrupted.

    number  of interruptions so far
    """

    number: int = 0


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How the bot's audio is sent to one client.

    lead_seconds       audio is sent at most this long before its playback
    on_audio           called with each chunk that was sent, and the time of its playback
    on_phrase          called with each phrase, before its audio is sent for the first time
    hold_reply         returns when the first audio of a reply may be sent
    drops_when_paused  whether the client drops what it has not played when the bot pauses
    activity_seconds   between two BotSpeakingFrames; see direct_audio.py
    """

    lead_seconds: float
    on_audio: Callable[[bytes, float], None] | None = None
    on_phrase: Callable[[str], None] = lambda _text: None
    hold_reply: Callable[[], Awaitable[None]] | None = None
    drops_when_paused: bool = True
    activity_seconds: float = ACTIVITY_SECONDS


class PacedTransport(FastAPIWebsocketTransport):
    """Pipecat's WebSocket transport with its output paced by `PlaybackPacer`."""

    def __init__(
        self, socket: WebSocket, serializer: FrameSerializer, options: OutputOptions
    ) -> None:
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=INPUT_SAMPLE_RATE,
            audio_out_enabled=True,
            audio_out_sample_rate=OUTPUT_SAMPLE_RATE,
            audio_out_end_silence_secs=0,
            allowed_origins=[],  # admission has already checked the origin
            serializer=serializer,
        )
        # A client that stopped reading answers no pings, and is disconnected. Pipecat's own limit
        # would need a task and a timer for each chunk.
        params.audio_out_write_timeout_secs = None  # type: ignore[assignment]
        super().__init__(socket, params)
        self._input = _DirectInput(self, self._client, params)
        self._output = self._paced_output = _PacedOutput(self, self._client, params, options)

    @property
    def playing(self) -> bool:
        """Whether the client still plays audio that was sent."""
        return self._paced_output.pacer.unplayed_seconds(time.monotonic()) > 0

    @property
    def unplayed_seconds(self) -> float:
        """How much of the audio sent is not played yet, or was dropped when the bot paused."""
        return self._paced_output.unplayed_seconds


class _DirectInput(FastAPIWebsocketInputTransport):
    """Passes each audio frame on at once.

    Pipecat puts it into a queue. Its reader creates a task for each frame, and applies filters that
    we do not have.
    """

    def _create_audio_task(self) -> None:
        """Create no reader."""

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        if not self._paused:
            await pass_audio(self, frame)


class _PacedOutput(FastAPIWebsocketOutputTransport):
    """Sends audio at the pace of playback, pauses, and goes on.

    Pipecat takes frames one by one from a queue, and awaits `write_audio_frame` for audio and
    `write_transport_frame` for the others. While the output is paused, these two wait.

    Pipecat passes an interruption on before it empties the queue. Then, one frame may have left the
    queue and not be sent yet. It must not be sent any more, nor passed on: `_is_interrupted`.
    """

    def __init__(
        self,
        transport: FastAPIWebsocketTransport,
        client: FastAPIWebsocketClient,
        params: FastAPIWebsocketParams,
        options: OutputOptions,
    ) -> None:
        super().__init__(transport, client, params)
        self._options = options
        self.pacer = PlaybackPacer(options.lead_seconds)
        self._playout = Playout(options.lead_seconds, 2 * OUTPUT_SAMPLE_RATE)
        self._not_paused = asyncio.Event()
        self._not_paused.set()
        # How much of the audio sent was not played at the pause; None once it was sent again.
        self._missed_seconds: float | None = None
        self._reply_begun = False  # its first audio was there
        self._interruptions = 0
        self._interruptions_passed = 0  # in the queue

    @property
    def unplayed_seconds(self) -> float:
        """See PacedTransport."""
        # A client that drops what it has not played has nothing to play after a pause. Another one
        # plays on, and misses nothing.
        playing_seconds = self.pacer.unplayed_seconds(time.monotonic())
        return max(playing_seconds, self._missed_seconds or 0.0)

    async def set_transport_ready(self, frame: StartFrame) -> None:
        await super().set_transport_ready(frame)
        self._media_senders[None]._bot_speaking_frame_period = self._options.activity_seconds

    async def stop(self, frame: EndFrame) -> None:
        """Send everything that is queued, even if the output is paused."""
        self._not_paused.set()
        await super().stop(frame)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        if isinstance(frame, OutputAudioRawFrame):
            await pass_audio(self, frame)
        elif direction == FrameDirection.UPSTREAM or not self._is_interrupted(frame):
            await super().push_frame(frame, direction)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, InterruptionFrame):
            self._interruptions += 1  # first, so that nothing is sent while it is reported
        elif isinstance(frame, TTSAudioRawFrame) and not self._reply_begun:
            self._reply_begun = True
            if self._options.hold_reply is not None:
                # All that follows waits behind it, except interruptions.
                await self._options.hold_reply()
        await super().process_frame(frame, direction)
        match frame:
            case ReplyEndFrame():
                self._reply_begun = False
            case InterruptionFrame():
                self._reply_begun = False
                self.pacer.flush()
                self._playout.clear()
                self._missed_seconds = None
                self._not_paused.set()
            case PauseBotFrame():
                await self._pause()
            case ResumeBotFrame():
                await self._resume()

    async def _handle_frame(self, frame: Frame) -> None:
        await super()._handle_frame(frame)
        if isinstance(frame, InterruptionFrame):  # the queue is empty now
            await super()._handle_frame(_InterruptedFrame(self._interruptions))

    def _is_interrupted(self, frame: Frame) -> bool:
        """Whether a frame out of the queue belongs to what was interrupted."""
        is_queued = frame.interruptible and not isinstance(frame, SystemFrame)
        return is_queued and self._interruptions_passed < self._interruptions

    async def write_transport_frame(self, frame: Frame) -> None:
        """Follow the phrases. Called for each frame that is not audio, in order with the audio.

        The frame waits if audio before it has to be sent again, and the end of a reply waits until
        all of it is played. Pipecat passes the frame on afterwards.
        """
        if isinstance(frame, _InterruptedFrame):
            self._interruptions_passed = max(self._interruptions_passed, frame.number)
        if self._is_interrupted(frame):
            return
        await self._resend_if_missed()
        if isinstance(frame, ReplyEndFrame):
            await self._wait_until_played()
        if self._is_interrupted(frame):
            return
        match frame:
            case AggregatedTextFrame() if not isinstance(frame, TTSTextFrame):
                self._playout.sent(PhraseStart(frame.text.strip()))
                self._options.on_phrase(frame.text)
            case TTSStartedFrame() if not frame.append_to_context:
                self._playout.forget_text()  # the text of a notice comes before this frame
            case PhraseBrokenFrame():
                self._playout.sent(PhraseStart(""))
            case PhraseRestartedFrame():
                self._playout.sent(PhraseStart(frame.text.strip()))
            case TTSTextFrame():
                self._playout.sent(PhraseEnd())

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Send a chunk, as soon as the output is not paused.

        Return False: Pipecat shall not pass the chunk on, because that was done already.
        """
        interruptions = self._interruptions
        if not self._not_paused.is_set() or self._missed_seconds is not None:
            await self._resend_missed()
        if interruptions == self._interruptions:
            await self._send_chunk(frame)
        return False

    async def _send_chunk(self, frame: OutputAudioRawFrame) -> None:
        """Send a chunk, pass it on, and wait until the next one is due.

        It is passed on before the wait, so that `unplayed_seconds` always belongs to the audio that
        was passed on.
        """
        interruptions = self._interruptions
        if self._is_interrupted(frame):
            return
        if self._options.on_audio is not None:
            self._options.on_audio(frame.audio, self.pacer.plays_at(time.monotonic()))
        if not await self._write_frame(frame) or interruptions != self._interruptions:
            return
        chunk_seconds = len(frame.audio) / 2 / self.sample_rate
        wait_seconds = self.pacer.wait_after(chunk_seconds, time.monotonic())
        await self.push_frame(frame)
        await asyncio.sleep(wait_seconds)
        if interruptions == self._interruptions:
            self._playout.sent(frame.audio)

    async def _wait_until_played(self) -> None:
        """Wait until the client has played all that was sent, or the bot is interrupted."""
        interruptions = self._interruptions
        while interruptions == self._interruptions:
            await self._resend_if_missed()
            seconds = self.pacer.unplayed_seconds(time.monotonic())
            if not seconds:
                return
            await asyncio.sleep(min(seconds, PLAYED_CHECK_SECONDS))

    async def _pause(self) -> None:
        if not self._not_paused.is_set():
            return
        self._not_paused.clear()
        if not self._options.drops_when_paused:
            self._missed_seconds = 0.0  # it plays everything, and then the phrase again
            return
        self._missed_seconds = self.pacer.unplayed_seconds(time.monotonic())
        self.pacer.flush()
        # The message tells the client that the frame after it is not an interruption.
        await self.send_message(OutputTransportMessageUrgentFrame(server_message(BOT_PAUSED)))
        await self._write_frame(InterruptionFrame())

    async def _resume(self) -> None:
        if self._not_paused.is_set():
            return
        if self._options.drops_when_paused:
            await self.send_message(OutputTransportMessageUrgentFrame(server_message(BOT_RESUMED)))
        self._not_paused.set()
        await self._handle_frame(_RepeatFrame())

    async def _resend_if_missed(self) -> None:
        if self._missed_seconds is not None and self._playout.misses(self._missed_seconds):
            await self._resend_missed()

    async def _resend_missed(self) -> None:
        """Wait until the output is not paused; then send again what the user has missed."""
        await self._not_paused.wait()
        while (missed_seconds := self._missed_seconds) is not None:
            self._missed_seconds = None
            rewind = self._playout.rewind(missed_seconds)
            if rewind is not None:
                await self.push_frame(RewindFrame(rewind))
            await self._send_pending()
            await self._not_paused.wait()  # it may have been paused again

    async def _send_pending(self) -> None:
        sender = self._media_senders[None]
        was_speaking = sender._bot_speaking
        while self._not_paused.is_set() and (item := self._playout.next_pending()) is not None:
            if isinstance(item, bytes):
                frame = TTSAudioRawFrame(item, self.sample_rate, 1)
                await sender._handle_bot_speech(frame)
                await self._send_chunk(frame)
                continue
            self._playout.sent(item)
            if isinstance(item, PhraseStart):
                await self.push_frame(RepeatedPhraseFrame(item.text))
            else:
                await self.push_frame(RepeatedPhraseEndFrame())
        if not was_speaking:  # Pipecat has already seen the end of this speech
            await sender._bot_stopped_speaking()


def output_lead_seconds(settings: Settings) -> float:
    """Return how many seconds before its playback the audio of a session is sent."""
    # In half duplex, the microphone opens when the gateway has sent the last audio. The user must
    # not hear the bot any more by then, so the lead is 0.
    return 0.0 if settings.turn.half_duplex else settings.gateway.lead_seconds
