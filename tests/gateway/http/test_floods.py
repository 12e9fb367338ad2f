"""A caller who floods the gateway loses the call; the calls of others go on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from websockets.frames import Frame, Opcode

from appliance.gateway import websocket
from appliance.gateway.websocket import MAX_PIECES, BoundedWebSocket
from client import wire
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.gateway.simulated_client import SimulatedClient

Result = TypeVar("Result")
KERNEL_BYTES = 8_192  # so that the rest waits in the gateway
PIECE = Frame(Opcode.BINARY, b"", fin=False)
FRAMES: dict[str, Callable[[int], Frame]] = {
    "pings": lambda _: Frame(Opcode.PING, b"x" * 125),
    "pongs": lambda _: Frame(Opcode.PONG, b"x"),
    "empty pieces of a message": lambda n: Frame(Opcode.CONT, b"", fin=False) if n else PIECE,
    "empty messages": lambda _: Frame(Opcode.BINARY, b""),
    "messages in two pieces": lambda n: Frame(Opcode.CONT, b"") if n % 2 else PIECE,
}


async def flood(client: SimulatedClient, frame: Callable[[int], Frame]) -> None:
    """Send frames as fast as the gateway takes them, until it closes the connection."""
    transport = client.socket.transport
    block = b"".join(frame(number).serialize(mask=True) for number in range(1, 2_001))
    transport.write(frame(0).serialize(mask=True))
    while not client.closed and not transport.is_closing():
        transport.write(block)
        while transport.get_write_buffer_size() > 1 << 20 and not client.closed:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", FRAMES)
async def test_flood_of_frames_ends_only_its_own_call(gateway: RunningGateway, kind: str) -> None:
    first, second = await gateway.connect(), await gateway.connect()
    flooder = await gateway.connect()
    flooding = asyncio.create_task(flood(flooder, FRAMES[kind]))
    code, reason = await flooder.wait_closed()
    await flooding
    expected = {
        "empty messages": (1008, "bad_frame"),  # the first one is one too many
        "messages in two pieces": (1008, "bad_frame"),
    }
    assert (code, str(reason).split(":")[0]) == expected.get(kind, (1008, "too_fast"))
    await gateway.wait_until(lambda: gateway.open_sessions() == 2)
    for caller in (first, second):
        await caller.type("Hello.")
        assert (await caller.turn(1))["outcome"] == "answered"
        assert not caller.closed
    assert gateway.logged_errors() == []


async def test_caller_who_never_reads_does_not_make_the_gateway_grow(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocols: list[BoundedWebSocket] = []
    monkeypatch.setattr(BoundedWebSocket, "start_keepalive", lambda self: protocols.append(self))
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    small.connect(("127.0.0.1", gateway.port))
    silent = await gateway.open_socket(sock=small)
    silent.transport.pause_reading()
    ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True)
    (protocol,) = protocols
    served = protocol.transport.get_extra_info("socket")
    served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    buffered = 0
    for _ in range(200):
        silent.transport.write(ping * 20)
        await asyncio.sleep(0.01)
        if not protocol.transport.is_closing():
            buffered = max(buffered, protocol.transport.get_write_buffer_size())
    assert 0 < buffered < 1 << 18
    silent.transport.abort()


async def test_caller_who_reads_no_audio_and_sends_pings_is_disconnected(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MAX_UNREAD_BYTES", KERNEL_BYTES)
    protocols: list[BoundedWebSocket] = []
    monkeypatch.setattr(BoundedWebSocket, "start_keepalive", lambda self: protocols.append(self))
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    small.connect(("127.0.0.1", gateway.port))
    caller = await gateway.connect(sock=small)
    (protocol,) = protocols
    served = protocol.transport.get_extra_info("socket")
    served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    caller.socket.transport.pause_reading()
    await caller.type("Tell me a story. " * 20)  # the engine repeats it
    await gateway.wait_until(lambda: protocol.transport.get_write_buffer_size() > 2 * KERNEL_BYTES)
    caller.socket.transport.write(Frame(Opcode.PING, b"x").serialize(mask=True))
    await gateway.wait_sessions_closed()
    caller.socket.transport.abort()


async def test_message_in_many_pieces_ends_the_call(gateway: RunningGateway) -> None:
    message = wire.encode(wire.AudioFrame(bytes(wire.FRAME_SAMPLES * 2)))
    for pieces, code in ((MAX_PIECES, None), (MAX_PIECES + 1, 1008)):
        client = await gateway.connect()
        client.mute()
        size = len(message) // pieces
        cuts = [message[n * size : (n + 1) * size] for n in range(pieces - 1)]
        cuts.append(message[(pieces - 1) * size :])
        for number, piece in enumerate(cuts):
            opcode = Opcode.CONT if number else Opcode.BINARY
            frame = Frame(opcode, piece, fin=number == pieces - 1)
            client.socket.transport.write(frame.serialize(mask=True))
        await client.type("Hello.")
        if code is None:
            assert (await client.turn(1))["outcome"] == "answered"
        else:
            found, reason = await client.wait_closed()
            assert (found, str(reason).split(":")[0]) == (code, "too_fast")


async def test_client_that_ignores_its_end_is_cut_off(gateway: RunningGateway) -> None:
    """It reads nothing, so it does not answer the close frame, and sends without end."""
    client = await gateway.connect()
    transport = client.socket.transport
    transport.pause_reading()
    transport.write(Frame(Opcode.TEXT, b"x").serialize(mask=True))
    block = Frame(Opcode.BINARY, bytes(1 << 14)).serialize(mask=True)
    sent = 0
    while not transport.is_closing() and sent < 64 << 20:
        if transport.get_write_buffer_size() < 1 << 20:
            transport.write(block)
            sent += len(block)
        await asyncio.sleep(0)
    assert sent < 64 << 20
    transport.abort()


@pytest.mark.parametrize("data", [b"\xff\xfe", b"{}", b"\xc3"], ids=["no UTF-8", "text", "half"])
async def test_text_message_closes_with_a_reason_and_no_traceback(
    gateway: RunningGateway, data: bytes
) -> None:
    client = await gateway.connect()
    client.socket.transport.write(Frame(Opcode.TEXT, data).serialize(mask=True))
    code, reason = await client.wait_closed()
    assert (code, str(reason).split(":")[0]) == (1008, "bad_frame")
    assert gateway.logged_errors() == []
    assert gateway.log_lines("library") == []


BROKEN = {
    "unknown opcode": (b"\x83\x80\0\0\0\0", 1002, "protocol_error"),
    "no mask": (b"\x82\x01x", 1002, "protocol_error"),
    "no valid text": (
        Frame(Opcode.CLOSE, b"\x03\xe8\xff").serialize(mask=True),
        1007,
        "protocol_error",
    ),
    "too long": (b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(4), 1009, "frame_too_big"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_client_that_breaks_the_protocol_is_not_recorded_as_one_that_left(
    gateway: RunningGateway, case: str
) -> None:
    data, code, outcome = BROKEN[case]
    other, client = await gateway.connect(), await gateway.connect()
    client.socket.transport.write(data)
    assert (await client.wait_closed())[0] == code
    await gateway.wait_until(lambda: gateway.log_lines("session ended"))
    (ended,) = [line for line in gateway.log_lines("audit") if line["action"] == "call_ended"]
    assert ended["reason"] == gateway.log_lines("session ended")[0]["reason"] == outcome
    assert gateway.metric("voice_sessions_total", outcome=outcome) == 1
    assert gateway.metric("voice_sessions_total", outcome="left") == 0
    await other.type("Hello.")
    assert (await other.turn(1))["outcome"] == "answered"
    assert gateway.logged_errors() == []


async def test_browser_that_catches_up_after_a_stall_goes_on(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM("Fine."), pace_burst_seconds=0.5) as gateway:
        client = await gateway.connect()
        client.mute()
        frame = wire.encode(wire.AudioFrame(bytes(wire.FRAME_SAMPLES * 2)))
        for _ in range(75):  # three seconds at once
            await client.socket.send(frame)
        client.unmute()
        await client.type("Are you still there?")
        assert (await client.turn(1))["reply_text"] == "Fine."
        assert not client.closed


STALL_FRAMES = 75  # three seconds; six times what may arrive at once in this test


async def sent_audio(client: SimulatedClient, frames: int) -> None:
    """Wait until the microphone has sent so many more frames."""
    wanted = len(client.sent_pcm) + frames * 2 * wire.FRAME_SAMPLES
    await client.wait_until(lambda: client.closed or len(client.sent_pcm) >= wanted)


async def test_honest_audio_that_queued_while_the_gateway_stalled_is_not_charged(
    make_gateway: MakeGateway,
) -> None:
    """The caller has an event loop of its own: its microphone records while the gateway stalls."""
    callers = asyncio.new_event_loop()
    thread = threading.Thread(target=callers.run_forever, daemon=True)
    thread.start()

    def there(action: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        return asyncio.run_coroutine_threadsafe(action, callers)

    async with make_gateway(ScriptedLLM("Fine."), pace_burst_seconds=0.5) as gateway:
        caller = await asyncio.wrap_future(there(gateway.connect()))
        for _ in range(3):
            there(sent_audio(caller, STALL_FRAMES)).result()  # blocks the gateway's event loop
            await asyncio.wrap_future(there(sent_audio(caller, STALL_FRAMES)))
        assert gateway.log_lines("session ended") == []
        await asyncio.wrap_future(there(caller.type("Are you still there?")))
        turn = await asyncio.wrap_future(there(caller.turn(1)))
        assert turn["reply_text"] == "Fine."
        gateway._clients.clear()
        await asyncio.wrap_future(there(caller.disconnect()))
        await gateway.wait_until(lambda: gateway.log_lines("session ended"))
        assert [line["reason"] for line in gateway.log_lines("session ended")] == ["left"]
    callers.call_soon_threadsafe(callers.stop)
    await asyncio.to_thread(thread.join)
    callers.close()
