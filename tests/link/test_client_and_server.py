"""Client and server of the link, over real unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosedError
from websockets.frames import CloseCode

from appliance.errors import BadRequest, EngineBusy, EngineGone
from appliance.link import client as client_module
from appliance.link import protocol
from appliance.link.client import EngineClient, SentUtterances
from appliance.link.engine import ChatMessage, GenerateRequest
from appliance.link.health import ask_health
from appliance.link.protocol import HealthReport
from appliance.link.server import MAX_REQUESTS, MAX_UTTERANCES, serve_link
from appliance.link.utterance import Utterance
from tests.fakes import InstantLLMEngine, InstantTTSEngine, tone
from tests.link.contract import (
    SpeechContract,
    VoiceContract,
    linked,
    reply,
    user_message,
    utterance,
)

TIMEOUT_SECONDS = 60.0  # generous, so that a slow machine does not fail the tests


class TestInstantSpeechEngine(SpeechContract):
    @pytest.fixture
    def engine(self) -> InstantLLMEngine:
        return InstantLLMEngine(pause_seconds=0.01)

    @pytest.fixture
    def spoken(self) -> bytes:
        return tone(1.0, rate=16_000)


class TestInstantVoiceEngine(VoiceContract):
    @pytest.fixture
    def engine(self) -> InstantTTSEngine:
        return InstantTTSEngine()


async def test_missing_socket_raises_engine_gone(tmp_path: Path) -> None:
    with pytest.raises(EngineGone):
        await EngineClient("llm", tmp_path / "none").connect()
    with pytest.raises(EngineGone):
        await ask_health(tmp_path / "none", 1)


def loading() -> HealthReport:
    return HealthReport(ready=False, waiting_for="llm")


async def test_loading_engine_reports_health_but_refuses_sessions(tmp_path: Path) -> None:
    async with serve_link(tmp_path / "s", loading, InstantLLMEngine()):
        report = await ask_health(tmp_path / "s", 1)
        assert (report.ready, report.waiting_for) == (False, "llm")
        with pytest.raises(EngineGone):
            await EngineClient("llm", tmp_path / "s").connect()


async def test_silence_beyond_the_stall_timeout_raises_engine_gone(tmp_path: Path) -> None:
    engine = InstantLLMEngine(pause_seconds=60)
    async with serve_link(tmp_path / "s", lambda: HealthReport(ready=True), engine):
        client = EngineClient("llm", tmp_path / "s", stall_seconds=0.2)
        with pytest.raises(EngineGone):
            await reply(client, ChatMessage("user", "Hello?"))


async def test_held_generation_may_be_silent_beyond_the_stall_timeout(
    tmp_path: Path,
) -> None:
    engine, received = InstantLLMEngine(lambda *_: "one two three", pause_seconds=0.05), []
    async with serve_link(tmp_path / "s", lambda: HealthReport(ready=True), engine):
        client = EngineClient("llm", tmp_path / "s", stall_seconds=0.3)

        async def listen() -> None:
            pieces = client.generate(GenerateRequest((ChatMessage("user", "Count!"),), 9, 0.0))
            async for piece in pieces:
                received.append(piece)  # noqa: PERF401, `received` is read concurrently

        listens = asyncio.create_task(listen())
        while not received:
            await asyncio.sleep(0.01)
        await client.hold()
        await asyncio.wait({listens}, timeout=1)  # three times the stall timeout
        assert not listens.done()
        await client.resume()
        await listens
        await client.close()
    assert "".join(piece for piece in received if isinstance(piece, str)) == "one two three"


async def test_engine_loss_fails_pending_requests(tmp_path: Path) -> None:
    engine = InstantLLMEngine(pause_seconds=60)
    async with serve_link(tmp_path / "s", lambda: HealthReport(ready=True), engine) as server:
        client = EngineClient("llm", tmp_path / "s")
        request = asyncio.ensure_future(reply(client, ChatMessage("user", "Hello?")))
        while not engine.sessions or not engine.sessions[0].running:
            await asyncio.sleep(0.01)
        server.close()
        with pytest.raises(EngineGone):
            await request


async def test_closing_a_generation_stops_the_model(tmp_path: Path) -> None:
    engine = InstantLLMEngine(lambda *_: "word " * 500, pause_seconds=0.01)
    async with linked(engine, tmp_path / "s") as client:
        pieces = client.generate(GenerateRequest((ChatMessage("user", "Talk!"),), 500, 0.0))
        await anext(pieces)
        await pieces.aclose()
        await _until(lambda: engine.sessions[0].running == 0)
        decoded = engine.sessions[0].decoded
        await asyncio.sleep(0.1)
    assert engine.sessions[0].decoded == decoded < 50


async def test_held_generation_decodes_nothing(tmp_path: Path) -> None:
    engine = InstantLLMEngine(lambda *_: "word " * 100, pause_seconds=0.005)
    async with linked(engine, tmp_path / "s") as client:
        pieces = client.generate(GenerateRequest((ChatMessage("user", "Talk!"),), 500, 0.0))
        await anext(pieces)
        await client.hold()
        await asyncio.sleep(0.1)
        held_at = engine.sessions[0].decoded
        await asyncio.sleep(0.1)
        assert engine.sessions[0].decoded == held_at < 100
        await client.resume()
        assert len([piece async for piece in pieces]) == 101  # the other 100 words and the result


async def test_closing_the_client_frees_the_engine_session(tmp_path: Path) -> None:
    engine = InstantLLMEngine(pause_seconds=60)
    async with linked(engine, tmp_path / "s") as client:
        turn = user_message(client, utterance(1, tone(1)))
        request = asyncio.ensure_future(reply(client, turn))
        await _until(lambda: bool(engine.sessions and engine.sessions[0].running))
        await client.close()
        await asyncio.gather(request, return_exceptions=True)
        await _until(lambda: engine.sessions[0].closed)
    assert engine.sessions[0].running == 0
    assert engine.sessions[0].heard == {}


async def test_dropped_utterance_is_freed_and_sent_again_when_it_is_added_again(
    tmp_path: Path,
) -> None:
    engine = InstantLLMEngine()
    speech = utterance(3, tone(0.5, rate=16_000))
    async with linked(engine, tmp_path / "s") as client:
        turn = user_message(client, speech)
        await reply(client, turn)
        await client.forget(speech.id)
        await _until(lambda: engine.sessions[0].heard == {})
        with pytest.raises(BadRequest):
            await reply(client, turn)
        client.add(speech)
        text, _ = await reply(client, turn)
    assert "500 ms" in text


def test_only_the_unsent_part_of_an_utterance_is_sent() -> None:
    sent, growing = SentUtterances(), Utterance(3)
    growing.pcm += b"ab" * 40_000
    assert list(sent.unsent(growing)) == [
        protocol.BeginMessage(utterance=3),
        protocol.pack_audio(3, b"ab" * 16_384),
        protocol.pack_audio(3, b"ab" * 16_384),
        protocol.pack_audio(3, b"ab" * 7_232),
    ]
    growing.pcm += b"cd"
    growing.complete = True
    end = protocol.EndMessage(utterance=3)
    assert list(sent.unsent(growing)) == [protocol.pack_audio(3, b"cd"), end]
    assert list(sent.unsent(growing)) == []


def test_dropped_utterance_counts_as_unsent() -> None:
    sent, speech = SentUtterances(), utterance(3, b"ab")
    messages = list(sent.unsent(speech))
    assert sent.forget(3)
    assert not sent.forget(3)
    assert list(sent.unsent(speech)) == messages


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[object]:
    engine = InstantLLMEngine()
    async with (
        serve_link(tmp_path / "s", lambda: HealthReport(ready=True), engine),
        unix_connect(str(tmp_path / "s"), "ws://engine/") as socket,
    ):
        await socket.send(protocol.encode(protocol.OpenMessage(version=protocol.VERSION)))
        await socket.recv()
        yield socket


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        '{"type":"shell","command":"ls"}',
        '{"type":"generate","request":-1,"conversation":[],"max_tokens":1,"temperature":0}',
        '{"type":"open","version":1}',
        '{"type":"end","utterance":99}',
        b"\x00",
        b"\x00\x00\x00\x63" + b"\x00\x00",
    ],
)
async def test_invalid_message_is_refused_and_the_connection_stays_usable(raw, message) -> None:  # type: ignore[no-untyped-def]
    await raw.send(message)
    refusal = protocol.decode_to_gateway(await raw.recv())
    assert isinstance(refusal, protocol.FailedMessage)
    assert refusal.reason == BadRequest.reason
    await raw.send(protocol.encode(protocol.HealthRequest()))
    assert isinstance(protocol.decode_to_gateway(await raw.recv()), HealthReport)


async def test_requests_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    engine = InstantLLMEngine(pause_seconds=60)
    async with linked(engine, tmp_path / "s") as client:
        asks = [reply(client, ChatMessage("user", "Hello?")) for _ in range(MAX_REQUESTS + 1)]
        requests = [asyncio.ensure_future(each) for each in asks[:-1]]
        await _until(lambda: len(client._replies) == MAX_REQUESTS)
        assert not any(each.done() for each in requests)
        with pytest.raises(EngineBusy):
            await asyncio.wait_for(asks[-1], TIMEOUT_SECONDS)
        await client.close()
        await asyncio.gather(*requests, return_exceptions=True)


async def test_utterances_beyond_the_limit_are_refused(raw) -> None:  # type: ignore[no-untyped-def]
    for number in range(MAX_UTTERANCES + 1):
        await raw.send(protocol.encode(protocol.BeginMessage(utterance=number)))
    refusal = protocol.decode_to_gateway(await asyncio.wait_for(raw.recv(), TIMEOUT_SECONDS))
    assert isinstance(refusal, protocol.FailedMessage)
    assert refusal.reason == EngineBusy.reason


async def test_message_above_the_maximum_size_closes_the_connection(raw) -> None:  # type: ignore[no-untyped-def]
    await raw.send("x" * (protocol.MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ConnectionClosedError):
        await raw.recv()
    assert raw.close_code == CloseCode.MESSAGE_TOO_BIG


async def test_answer_above_the_maximum_size_is_a_lost_engine(tmp_path: Path) -> None:
    """A process that is not the engine that it should be cannot fill the memory of the gateway."""

    async def answer(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send("x" * (protocol.MAX_MESSAGE_BYTES + 1))

    async with unix_serve(answer, str(tmp_path / "s")):
        with pytest.raises(EngineGone):
            await EngineClient("llm", tmp_path / "s").connect()


async def test_health_above_the_maximum_size_is_no_answer(tmp_path: Path) -> None:
    """A gateway that was taken over cannot fill the memory of the guard and the exporter."""
    texts = iter(["", "x" * (5 << 20)])

    async def answer(socket: ServerConnection) -> None:
        await socket.recv()
        report = protocol.HealthReport(ready=True, waiting_for="", metrics=next(texts))
        await socket.send(protocol.encode(report))

    async with unix_serve(answer, str(tmp_path / "s")):
        assert (await ask_health(tmp_path / "s", TIMEOUT_SECONDS)).ready
        with pytest.raises(EngineGone):
            await ask_health(tmp_path / "s", TIMEOUT_SECONDS)


async def test_engine_that_accepts_and_does_not_answer_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "OPEN_SECONDS", 0.2)

    async def hang(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with asyncio.timeout(TIMEOUT_SECONDS), unix_serve(hang, str(tmp_path / "s")):
        with pytest.raises(EngineGone):
            await EngineClient("llm", tmp_path / "s").connect()


async def _until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)
