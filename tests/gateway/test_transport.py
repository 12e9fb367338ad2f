"""How far ahead of its playback a caller gets the audio of a reply."""

from __future__ import annotations

import time

import pytest
from starlette.websockets import WebSocket

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from client import wire
from tests.gateway.conftest import MakeGateway, Mind, RunningGateway, Speak

PIECE_SECONDS = 0.04  # Pipecat's output transport sends audio in pieces of this length
QUESTION = "What is the capital of France?"
SENTENCE = "This answer goes on for some time. "


async def ask(gateway: RunningGateway, question: bytes) -> tuple[float, float]:
    """Seconds from the end of the question to the end of the turn, and of audio received."""
    caller = await gateway.call()
    await caller.say(question)
    asked_at = time.monotonic()
    await caller.turn(1)
    return time.monotonic() - asked_at, len(caller.audio) / 2 / OUTPUT_SAMPLE_RATE


@pytest.fixture
def sent_pieces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """When the gateway sent each piece of audio (seconds of the clock), and its length."""
    pieces: list[tuple[float, float]] = []
    send_bytes = WebSocket.send_bytes

    async def record(socket: WebSocket, data: bytes) -> None:
        frame = wire.decode(data)
        if isinstance(frame, wire.Audio):
            pieces.append((time.monotonic(), len(frame.pcm) / 2 / frame.rate))
        await send_bytes(socket, data)

    monkeypatch.setattr(WebSocket, "send_bytes", record)
    return pieces


async def test_reply_is_sent_no_further_ahead_than_the_lead(
    make_gateway: MakeGateway, speak: Speak, sent_pieces: list[tuple[float, float]]
) -> None:
    lead_seconds = 0.2
    async with make_gateway(Mind(SENTENCE * 4), lead_seconds=lead_seconds) as gateway:
        _, received_seconds = await ask(gateway, speak(QUESTION))
    assert sum(seconds for _, seconds in sent_pieces) == pytest.approx(received_seconds)
    assert received_seconds > 5
    # A slow machine sends later, never earlier, so it cannot exceed the bound.
    plays_until = 0.0
    for sent_at, seconds in sent_pieces:
        plays_until = max(plays_until, sent_at) + seconds
        assert plays_until - sent_at <= lead_seconds + PIECE_SECONDS + 1e-6


async def test_reply_shorter_than_the_lead_is_sent_without_waiting_for_playback(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(Mind(SENTENCE * 40), lead_seconds=600.0) as gateway:
        turn_seconds, received_seconds = await ask(gateway, speak(QUESTION))
    assert received_seconds > 40  # long enough that sending it at once takes less on any machine
    assert turn_seconds < received_seconds
