"""Pacing of the reply audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from starlette.websockets import WebSocket

from appliance.gateway.transport import output_lead_seconds
from appliance.link.engine import OUTPUT_SAMPLE_RATE, ChatMessage
from appliance.settings import Settings, TurnConfig
from client import wire
from tests.fakes.engines import Reply
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.gateway.simulated_client import SimulatedClient

CHUNK_SECONDS = 0.04  # Pipecat's output chunk
QUESTION = "What is the capital of France?"
SENTENCE = "This answer goes on for some time. "


def test_half_duplex_has_no_lead() -> None:
    assert output_lead_seconds(Settings()) > 0
    assert output_lead_seconds(Settings(turn=TurnConfig(half_duplex=True))) == 0


@pytest.fixture
def sent_chunks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Record (time sent, length) of each audio chunk; monotonic seconds and seconds."""
    chunks: list[tuple[float, float]] = []
    send_bytes = WebSocket.send_bytes

    async def record(socket: WebSocket, data: bytes) -> None:
        frame = wire.decode(data)
        if isinstance(frame, wire.AudioFrame):
            chunks.append((time.monotonic(), len(frame.pcm) / 2 / frame.rate))
        await send_bytes(socket, data)

    monkeypatch.setattr(WebSocket, "send_bytes", record)
    return chunks


async def test_reply_is_sent_no_further_ahead_than_the_lead(
    make_gateway: MakeGateway, speak: Speak, sent_chunks: list[tuple[float, float]]
) -> None:
    lead_seconds = 0.2
    async with make_gateway(ScriptedLLM(SENTENCE * 4), lead_seconds=lead_seconds) as gateway:
        _, seconds_received = await ask(gateway, speak(QUESTION))
    assert sum(seconds for _, seconds in sent_chunks) == pytest.approx(seconds_received)
    assert seconds_received > 5
    # A slow machine sends later, never earlier, so it cannot exceed the bound.
    playback_end = 0.0
    for sent_at, seconds in sent_chunks:
        playback_end = max(playback_end, sent_at) + seconds
        assert playback_end - sent_at <= lead_seconds + CHUNK_SECONDS + 1e-6


async def test_reply_shorter_than_the_lead_is_not_delayed(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(ScriptedLLM(SENTENCE * 40), lead_seconds=600.0) as gateway:
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        asked_at = time.monotonic()
        await client.wait_until(lambda: received_seconds(client) > 40)
        # A busy machine sends 40 s of audio in less time than that.
        assert time.monotonic() - asked_at < 40


async def test_end_of_a_reply_is_reported_when_all_of_it_is_played(
    make_gateway: MakeGateway, sent_chunks: list[tuple[float, float]]
) -> None:
    async with make_gateway(ScriptedLLM("It is Paris."), lead_seconds=2.0) as gateway:
        client = await gateway.connect()
        await client.type(QUESTION)
        await client.turn(1)
        reported_at = time.monotonic()
    assert reported_at - sent_chunks[0][0] >= sum(seconds for _, seconds in sent_chunks) > 0.5


class Silent(ScriptedLLM):
    """Tells a story. Its reply to "Stop." has nothing that can be spoken."""

    def __call__(self, conversation: Sequence[ChatMessage], utterances: dict[int, bytes]) -> Reply:
        return "..." if conversation[-1].text.endswith("Stop.") else SENTENCE * 12


async def test_no_audio_follows_an_interruption(make_gateway: MakeGateway) -> None:
    """A client drops what it has not played once, when the interruption arrives."""
    async with make_gateway(Silent()) as gateway:
        client = await gateway.connect()
        for number in range(8):
            client.frames.clear()
            await client.type("Tell me a story.")
            await client.wait_until(lambda: wire.AudioFrame in map(type, client.frames))
            await asyncio.sleep(0.013 * number)  # at any point between two chunks
            client.frames.clear()
            await client.type("Stop.")
            await client.wait_until(lambda: wire.Interruption in map(type, client.frames))
            await asyncio.sleep(0.3)
            kinds = [type(frame) for frame in client.frames]
            assert wire.AudioFrame not in kinds[kinds.index(wire.Interruption) :]


async def ask(gateway: RunningGateway, question: bytes) -> tuple[float, float]:
    """Ask `question`.

    Returns the seconds from the end of the question to the end of the turn, and the seconds of
    audio received.
    """
    client = await gateway.connect()
    await client.say(question)
    asked_at = time.monotonic()
    await client.turn(1)
    return time.monotonic() - asked_at, received_seconds(client)


def received_seconds(client: SimulatedClient) -> float:
    """Return how much audio the client has received."""
    return len(client.audio) / 2 / OUTPUT_SAMPLE_RATE
