"""Strangers and a caller who floods: connections, guesses, endless heads, pings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.gateway.attack.floods import PINGS, send_until_closed
from tests.gateway.attack.gateways import GatewayProcess
from tests.gateway.attack.referees import Court

IDLE_CONNECTIONS = 4_000
REFUSALS = 600
ENDLESS_HEADS = 20
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Authorization: Bearer wrong\r\nX-Forwarded-For: 192.0.2.{}\r\n\r\n"
)


@contextlib.asynccontextmanager
async def idle_connections(gateway: GatewayProcess) -> AsyncIterator[None]:
    """Open TCP connections that send nothing, or the first byte of a TLS handshake."""
    opened = [await gateway.connection(encrypted=False) for _ in range(IDLE_CONNECTIONS)]
    for _, writer in opened[::2]:
        writer.write(b"\x16")
    yield
    for _, writer in opened:
        writer.transport.abort()


async def guess(gateway: GatewayProcess) -> None:
    for number in range(REFUSALS):
        with contextlib.suppress(OSError):
            reader, writer = await gateway.connection()
            writer.write(UPGRADE.format(number % 250).encode())
            await reader.read()
            writer.close()


async def send_endless_head(gateway: GatewayProcess) -> None:
    with contextlib.suppress(OSError):
        _, writer = await gateway.connection()
        writer.write(b"GET /ws HTTP/1.1\r\nX: ")
        while True:
            writer.write(b"a" * 65_536)
            await writer.drain()


async def flood(gateway: GatewayProcess) -> None:
    """Call, and send pings until the gateway hangs up; twice."""
    for _ in range(2):
        socket = await gateway.open(gateway.tokens["thief"])
        await send_until_closed(socket, PINGS)


async def test_strangers_and_flooders_cost_two_callers_nothing(court: Court) -> None:
    async with court.in_session(), idle_connections(court.attacked):
        heads = [send_endless_head(court.attacked) for _ in range(ENDLESS_HEADS)]
        await asyncio.gather(guess(court.attacked), flood(court.attacked), *heads)
