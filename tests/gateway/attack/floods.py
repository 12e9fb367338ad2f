"""Callers who send without end.

With which code such a call ends is tested in tests/gateway/http/test_floods.py.
"""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

PINGS = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1_000
MAX_UNSENT_BYTES = 1 << 20


async def send_until_closed(socket: ClientConnection, data: bytes, first: bytes = b"") -> None:
    """Send `first`, and then `data` again and again, until the gateway closes the connection."""
    transport = socket.transport
    transport.write(first)
    while socket.state is State.OPEN and not transport.is_closing():
        if transport.get_write_buffer_size() < MAX_UNSENT_BYTES:
            transport.write(data)
        await asyncio.sleep(0.001)
    transport.abort()  # otherwise TLS waits half a minute for the rest to be sent
