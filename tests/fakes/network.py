"""A network path that can vanish, as if a host or its cable were gone: no connection is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class VanishingPath:
    """A port of 127.0.0.1 that leads to another one.

    After `vanish`, nothing passes any more on the connections that are open. New ones pass, as
    those of another host at the same address do.
    """

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self._to_port = to_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()

    def vanish(self) -> None:
        """Let nothing pass any more on the open connections."""
        self._gone.set()
        self._gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy both directions of a connection."""
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        for pair in ((reader, to_writer), (to_reader, writer)):
            self._tasks.add(asyncio.create_task(_copy(*pair, self._gone)))

    def stop(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def vanishing_path(to_port: int) -> AsyncIterator[VanishingPath]:
    """Serve a path to a port of 127.0.0.1."""
    path = VanishingPath(to_port)
    server = await asyncio.start_server(path.serve, "127.0.0.1", 0)
    path.port = server.sockets[0].getsockname()[1]
    try:
        yield path
    finally:
        server.close()
        path.stop()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event
) -> None:
    try:
        while (data := await reader.read(1 << 16)) and not gone.is_set():
            writer.write(data)
        if gone.is_set():
            await asyncio.Event().wait()
    finally:
        writer.close()
