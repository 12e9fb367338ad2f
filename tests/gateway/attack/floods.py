"""Callers who send without end.

Which code such a caller sees depends on whether it reads the close frame in time. The codes are
tested in tests/gateway/http/test_floods.py.
"""

from __future__ import annotations

import asyncio
import contextlib

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.gateway.conftest import TIMEOUT_SECONDS

PINGS = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1_000
MAX_UNSENT_BYTES = 1 << 20


async def send_until_closed(socket: ClientConnection, data: bytes, first: bytes = b"") -> None:
    """Send `first`, and then `data` again and again, until the gateway closes the connection."""
    transport = socket.transport
    transport.write(first)
    while socket.close_code is None and not transport.is_closing():
        if transport.get_write_buffer_size() < MAX_UNSENT_BYTES:
            transport.write(data)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        with contextlib.suppress(ConnectionClosed):
            while True:  # a client that does not read would not see the close frame
                await socket.recv()
        await socket.wait_closed()
