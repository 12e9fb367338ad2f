"""Callers of /v1/realtime: floods, malformed, oversized and endless events, wrong tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from appliance.gateway.http.gatekeeper import KEY_SUBPROTOCOL, REALTIME, SUBPROTOCOL
from tests.gateway.attack.floods import PINGS, send_until_closed
from tests.gateway.attack.gateways import GatewayProcess, Headers
from tests.gateway.attack.referees import Court
from tests.gateway.simulated_client import TIMEOUT_SECONDS

PATH = f"{REALTIME}?model=any"
GUESSES = 200
RACERS = 10
CALLS = 3  # of a caller whose mistakes end the call
STALLED_QUESTIONS = 20  # of a caller who reads no answer
OVERSIZED_BYTES = 4 << 20
PIECE_BYTES = 32 << 10


def message(data: bytes | str) -> bytes:
    """Return one WebSocket text message."""
    payload = data.encode() if isinstance(data, str) else data
    return Frame(Opcode.TEXT, payload).serialize(mask=True)


def event(kind: str, **fields: Any) -> bytes:
    return message(json.dumps({"type": kind, **fields}))


def typed(text: str) -> bytes:
    """Return the events of a typed question."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    return event("conversation.item.create", item=item) + event("response.create")


AUDIO = event("input_audio_buffer.append", audio=base64.b64encode(bytes(19_200)).decode())
FLOODS = {
    "pings": PINGS,
    "audio": AUDIO * 50,
    "mistakes": message("{") * 100,
    "questions": typed("Hello.") * 50,
    "updates": event("session.update", session={"type": "realtime"}) * 100,
    "cancelled responses": event("response.cancel") * 100,
    "binary": Frame(Opcode.BINARY, b"\0").serialize(mask=True) * 100,
}


async def call(gateway: GatewayProcess, name: str = "thief") -> ClientConnection:
    """Call as soon as the token's limits allow it."""
    return await gateway.open(gateway.tokens[name], PATH)


async def flood(gateway: GatewayProcess) -> None:
    for data in FLOODS.values():
        await send_until_closed(await call(gateway), data)


def malformed(seed: int) -> Iterator[str]:
    """Yield events that are not what they should be, the same ones for each seed."""
    dice = random.Random(seed)
    kinds = ("session.update", "input_audio_buffer.append", "conversation.item.create")
    values: tuple[Any, ...] = (None, True, -1, 1e308, 10**40, "", "\ud800", "x" * 3_000, [], {})
    while True:
        field = dice.choice(("session", "audio", "item", "response", "event_id", "type"))
        value = dice.choice(values)
        for _ in range(dice.randrange(60)):
            value = [value] if dice.random() < 0.5 else {field: value}
        yield json.dumps({"type": dice.choice(kinds), field: value})
        yield dice.choice(('{"type": NaN}', "[" * 900, "\0", '{"a":1,"a":2}', "null", "1e999"))


async def send_malformed_events(gateway: GatewayProcess) -> None:
    for seed in range(CALLS):
        socket = await call(gateway)
        with contextlib.suppress(ConnectionClosed):
            for text in malformed(seed):
                await socket.send(text)
                await asyncio.sleep(0.001)
        socket.transport.abort()


async def send_oversized_events(gateway: GatewayProcess) -> None:
    """Send an event that is too long: in one frame, in pieces, and one that never ends."""
    whole = event("input_audio_buffer.append", audio="A" * OVERSIZED_BYTES)
    await send_until_closed(await call(gateway), b"", whole)
    begin = Frame(Opcode.TEXT, b'{"type":"', fin=False).serialize(mask=True)
    for size in (1, PIECE_BYTES):
        piece = Frame(Opcode.CONT, b"x" * size, fin=False).serialize(mask=True)
        await send_until_closed(await call(gateway), piece * 20, begin)


@contextlib.asynccontextmanager
async def never_reading(gateway: GatewayProcess) -> AsyncIterator[None]:
    """Ask for answers, read none of them, and hold an event back."""
    sockets = [await call(gateway, "stolen-too") for _ in range(2)]
    for socket in sockets:
        socket.transport.pause_reading()
        socket.transport.write(Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=True))
    other = await call(gateway, "stolen-too")
    other.transport.pause_reading()
    for number in range(STALLED_QUESTIONS):
        other.transport.write(typed(f"Question {number}.") if number % 2 else PINGS)
    yield
    for socket in (*sockets, other):
        socket.transport.abort()


async def try_tokens(gateway: GatewayProcess) -> None:
    """Call with tokens that are wrong, expired, sent twice, or in the wrong place."""
    right = gateway.tokens["thief"]["Authorization"]
    start = right.rpartition(".")[0]
    wrong: list[Headers] = [{"Authorization": f"{start}.{n:022d}"} for n in range(GUESSES)]
    wrong += [{"Authorization": f"{right} {right}"}, gateway.tokens["old"], {}]
    assert await gateway.statuses(*((headers, PATH) for headers in wrong)) <= {401, 429}
    upgrade = (
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: {right}\r\nAuthorization: {right}\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        reader, writer = await gateway.connection()
        writer.write(upgrade.encode())
        answer = await reader.read()
        assert answer.split()[1:2] in ([], [b"401"], [b"429"])
        writer.close()
    key = KEY_SUBPROTOCOL + right.removeprefix("Bearer ")
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(key)]
    assert await gateway.status({}, PATH, subprotocols=offered) in (401, 429)


async def race_tickets(gateway: GatewayProcess) -> None:
    """Use each ticket many times at once, as a browser's client sends it: one call each."""
    for _ in range(3):
        key = KEY_SUBPROTOCOL + await gateway.ticket("thief")
        offered = [Subprotocol(SUBPROTOCOL), Subprotocol(key)]
        tries = (gateway.status({}, PATH, subprotocols=offered) for _ in range(RACERS))
        assert (await asyncio.gather(*tries)).count(101) == 1


async def test_attacks_on_realtime_cost_two_callers_nothing(court: Court) -> None:
    gateway = court.attacked
    stolen = await call(gateway, "stolen")
    await gateway.hash_tokens()
    async with court.in_session(), never_reading(gateway):
        await asyncio.gather(flood(gateway), try_tokens(gateway), race_tickets(gateway))
        gateway.store.revoke("stolen")
        await send_oversized_events(gateway)
        await send_malformed_events(gateway)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await stolen.wait_closed()
        assert stolen.close_code == 1008
        assert await gateway.status(gateway.tokens["stolen"], PATH) in (401, 429)
