"""Pipecat's own WebSocket client, with right and wrong settings, against the real gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.websocket.client import WebsocketClientParams, WebsocketClientTransport
from pipecat.workers.runner import WorkerRunner

from client import wire
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.gateway.simulated_client import TIMEOUT_SECONDS

QUESTION = "What is the capital of France?"
SECOND = 2 * wire.MIC_SAMPLE_RATE  # bytes


class Recorder(FrameProcessor):
    """Keeps what the gateway sends: RTVI messages, and the bot's audio."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.audio = bytearray()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Keep the frame. None is passed on: the bot's audio must not be sent back to it."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame):
            self.messages.append(frame.message)
        elif isinstance(frame, InputAudioRawFrame):
            assert frame.sample_rate == wire.SPEAKER_SAMPLE_RATE
            self.audio += frame.audio
        else:
            await self.push_frame(frame, direction)


class StockClient:
    """A Pipecat program that calls the gateway."""

    def __init__(self, gateway: RunningGateway, **settings: Any) -> None:
        self.gateway = gateway
        self.recorder = Recorder()
        self.closed: tuple[int | None, str | None] = (None, None)
        parameters: dict[str, Any] = {
            "audio_in_enabled": True,
            "audio_out_enabled": True,
            "audio_out_sample_rate": wire.MIC_SAMPLE_RATE,
            "add_wav_header": False,
            "additional_headers": {"Authorization": f"Bearer {TOKEN}"},
            "serializer": ProtobufFrameSerializer(),
        }
        self._transport = WebsocketClientTransport(
            f"ws://{gateway.address}/ws", WebsocketClientParams(**parameters | settings)
        )
        self._transport.add_event_handler("on_disconnected", self._disconnected)
        stages = [self._transport.input(), self.recorder, self._transport.output()]
        self.worker = PipelineWorker(Pipeline(stages))

    async def send(self, kind: str, data: object) -> None:
        """Send an RTVI message."""
        message = {"label": "rtvi-ai", "type": kind, "id": "1", "data": data}
        await self.worker.queue_frame(OutputTransportMessageUrgentFrame(message))

    async def speak(self, pcm: bytes, rate: int = wire.MIC_SAMPLE_RATE) -> None:
        """Queue audio; the transport sends it at its own pace."""
        await self.worker.queue_frame(OutputAudioRawFrame(pcm, rate, 1))

    def turns(self) -> list[dict[str, Any]]:
        """Return the reports of turns."""
        data = [each["data"] for each in self.recorder.messages if each["type"] == "server-message"]
        return [each for each in data if each["kind"] == "turn"]

    async def _disconnected(self, _transport: object, socket: Any) -> None:
        self.closed = (socket.close_code, socket.close_reason)


@contextlib.asynccontextmanager
async def calling(gateway: RunningGateway, **settings: Any) -> AsyncIterator[StockClient]:
    """Run a client, and end it."""
    client = StockClient(gateway, **settings)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(client.worker)
    running = asyncio.create_task(runner.run())
    try:
        await client.send("client-ready", {"version": "2.0.0", "about": {"library": "pipecat"}})
        yield client
    finally:
        await client.worker.cancel()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await running


async def test_transport_with_the_right_settings_holds_a_conversation(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    """Pipecat adds an RTVI processor to the client, which refuses each message of the gateway."""
    reply = " ".join(f"Paris, number {number}." for number in range(4))
    async with make_gateway(ScriptedLLM(reply)) as gateway, calling(gateway) as client:
        await client.speak(bytes(SECOND) + speak(QUESTION) + bytes(5 * SECOND))
        await gateway.wait_until(lambda: client.turns() or client.closed[0])
        (turn,) = client.turns()
        assert (turn["outcome"], turn["reply_text"]) == ("answered", reply)
        assert np.abs(np.frombuffer(client.recorder.audio, "<i2")).max() > 1000
        assert gateway.logged_errors() == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"add_wav_header": True}, "a WAV header", id="default of Pipecat"),
        pytest.param(
            {"audio_out_sample_rate": 24_000}, "24000 Hz instead of 16000 Hz", id="24 kHz"
        ),
        pytest.param({"audio_out_channels": 2}, "2 channels instead of one", id="stereo"),
    ],
)
async def test_wrong_setting_is_named_in_the_close_reason(
    make_gateway: MakeGateway, settings: dict[str, Any], words: str
) -> None:
    async with make_gateway() as gateway, calling(gateway, **settings) as client:
        rate = settings.get("audio_out_sample_rate", wire.MIC_SAMPLE_RATE)
        await client.speak(bytes(2 * SECOND), rate)
        await gateway.wait_until(lambda: client.closed[0])
        code, reason = client.closed
        assert (code, str(reason).partition(":")[0]) == (1008, "bad_frame")
        assert words in str(reason)
