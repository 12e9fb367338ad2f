"""The wire to one caller as Pipecat's transport: guarded on its way in, paced on its way out."""

from __future__ import annotations

import asyncio
import time

from pipecat.frames.frames import Frame, InterruptionFrame
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


def lead_seconds(settings: Settings) -> float:
    """The lead of a call's sound."""
    # In half duplex the microphone opens when the bot counts as silent: not before it is.
    return 0.0 if settings.turn.half_duplex else settings.gateway.lead_seconds


class Pace:
    """How long to wait between two pieces. Times are seconds of a clock that never falls."""

    def __init__(self, lead_seconds: float) -> None:
        self._lead_seconds = lead_seconds
        self._plays_until = 0.0

    def sent(self, seconds: float, now: float) -> float:
        """A piece of so many seconds was sent; in so many the next is due."""
        self._plays_until = max(self._plays_until, now) + seconds
        return max(0.0, self._plays_until - self._lead_seconds - now)

    def flushed(self) -> None:
        """The caller threw away what was not yet played."""
        self._plays_until = 0.0


class PacedTransport(FastAPIWebsocketTransport):
    """Pipecat's transport, whose output keeps our pace."""

    def __init__(self, socket: WebSocket, serializer: FrameSerializer, pace: Pace) -> None:
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=INPUT_SAMPLE_RATE,
            audio_out_enabled=True,
            audio_out_sample_rate=OUTPUT_SAMPLE_RATE,
            audio_out_end_silence_secs=0,
            allowed_origins=[],  # admission has looked at the origin
            serializer=serializer,
        )
        super().__init__(socket, params)
        self._output = _PacedOutput(self, self._client, params)
        self._output.pace = pace


class _PacedOutput(FastAPIWebsocketOutputTransport):
    """Pipecat has no public place for a pace; `_write_audio_sleep` is called after each piece."""

    pace: Pace

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self.pace.flushed()

    async def _write_audio_sleep(self) -> None:
        seconds = self.audio_chunk_size / 2 / self.sample_rate
        await asyncio.sleep(self.pace.sent(seconds, time.monotonic()))
