"""The WebSocket of one client as a Pipecat transport that sends audio at the pace of playback.

Audio is sent a short time before its playback: the lead. The lead hides short stalls of the machine
and the network. It is kept short for two reasons: an interruption can only drop audio that has not
been sent, and the gateway estimates from the audio sent how much the user has heard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pipecat.frames.frames import Frame, InterruptionFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)
from starlette.websockets import WebSocket

from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE
from appliance.settings import Settings


class PacedTransport(FastAPIWebsocketTransport):
    """Pipecat's WebSocket transport with its output paced by `PlaybackPacer`."""

    def __init__(
        self,
        socket: WebSocket,
        serializer: FrameSerializer,
        lead_seconds: float,
        on_audio: Callable[[bytes, float], None] | None = None,
    ) -> None:
        """`on_audio` is called with each chunk that was sent, and the time of its playback."""
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=INPUT_SAMPLE_RATE,
            audio_out_enabled=True,
            audio_out_sample_rate=OUTPUT_SAMPLE_RATE,
            audio_out_end_silence_secs=0,
            allowed_origins=[],  # admission has already checked the origin
            serializer=serializer,
        )
        super().__init__(socket, params)
        self._output = _PacedOutput(self, self._client, params)
        self._output.pacer = PlaybackPacer(lead_seconds)
        self._output.on_audio = on_audio


class _PacedOutput(FastAPIWebsocketOutputTransport):
    """Overrides `_write_audio_sleep`, which Pipecat awaits after each chunk of audio.

    Pipecat has no public hook for the pace of the output.
    """

    pacer: PlaybackPacer
    on_audio: Callable[[bytes, float], None] | None = None

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        if self.on_audio is not None:
            self.on_audio(frame.audio, self.pacer.plays_at(time.monotonic()))
        return bool(await super().write_audio_frame(frame))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self.pacer.flush()

    async def _write_audio_sleep(self) -> None:
        chunk_seconds = self.audio_chunk_size / 2 / self.sample_rate
        await asyncio.sleep(self.pacer.wait_after(chunk_seconds, time.monotonic()))


class PlaybackPacer:
    """Computes when the next chunk is due. Pure; times are in seconds of a monotonic clock."""

    def __init__(self, lead_seconds: float) -> None:
        self._lead_seconds = lead_seconds
        self._plays_until = 0.0

    def wait_after(self, chunk_seconds: float, now: float) -> float:
        """Return the seconds to wait before the next chunk, after one was sent at `now`."""
        self._plays_until = max(self._plays_until, now) + chunk_seconds
        return max(0.0, self._plays_until - self._lead_seconds - now)

    def plays_at(self, now: float) -> float:
        """Return when a chunk that is sent at `now` is played."""
        return max(self._plays_until, now)

    def flush(self) -> None:
        """Note that the client has discarded the audio that it had not yet played."""
        self._plays_until = 0.0


def output_lead_seconds(settings: Settings) -> float:
    """Return how many seconds before its playback the audio of a session is sent."""
    # In half duplex, the microphone opens when the gateway has sent the last audio. The user must
    # not hear the bot any more by then, so the lead is 0.
    return 0.0 if settings.turn.half_duplex else settings.gateway.lead_seconds
