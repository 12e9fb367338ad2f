"""Connections over TLS on uvloop, which the gateway uses. The other tests use asyncio's loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from appliance.gateway.http.listener import uvicorn_config
from appliance.gateway.websocket import BoundedWebSocket
from appliance.settings import GatewayConfig
from appliance.tls.serving import ServerCertificate
from appliance.web import server as web
from tests.tls.site import Site, make_site

MESSAGE = bytes(1_280)
DEADLINE_SECONDS = 30


@dataclass
class Served:
    """A server over TLS that sends each message back.

    connections  of all kinds so far
    decrypted    how many bytes arrived in the buffer of the process
    """

    port: int
    site: Site
    connections: list[weakref.ref[Any]] = field(default_factory=list)
    decrypted: int = 0

    async def wait_until_freed(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while any(connection() is not None for connection in self.connections):
                await asyncio.sleep(0.01)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await receive()  # the rest of a body that is held back never comes
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


@contextlib.asynccontextmanager
async def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    site = make_site(folder)
    gateway = GatewayConfig(tls_certificate=str(site.chain), tls_key=str(site.key))
    config = uvicorn_config(gateway, echo, ServerCertificate(gateway).context)
    listener = web.listen("127.0.0.1", 0)
    result = Served(listener.getsockname()[1], site)
    for protocol in (web.BoundedHttp, BoundedWebSocket):
        note(protocol, result, monkeypatch)
    updated = web.OneBuffer.buffer_updated

    def count(buffer: web.OneBuffer, nbytes: int) -> None:
        result.decrypted += nbytes
        updated(buffer, nbytes)

    monkeypatch.setattr(web.OneBuffer, "buffer_updated", count)
    server = web.WebServer(config, signals=False)
    serving = asyncio.create_task(server.serve([listener]))
    yield result
    server.should_exit = True
    await serving


def note(protocol: Any, result: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    made = protocol.connection_made

    def connection_made(connection: Any, transport: asyncio.Transport) -> None:
        result.connections.append(weakref.ref(connection))
        made(connection, transport)

    monkeypatch.setattr(protocol, "connection_made", connection_made)


def run_on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        gc.collect()
        gc.disable()
        try:
            runner.run(work)
        finally:
            gc.enable()


def test_messages_of_a_call_are_decrypted_into_the_buffer_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, uvloop takes 256 KiB of new memory for each message."""

    async def call() -> None:
        async with served(tmp_path, monkeypatch) as server:
            url = f"wss://127.0.0.1:{server.port}/ws"
            async with connect(url, ssl=server.site.trust()) as client:
                before = server.decrypted
                for _ in range(10):
                    await client.send(MESSAGE)
                    assert await client.recv() == MESSAGE
                assert server.decrypted - before > 10 * len(MESSAGE)

    run_on_uvloop(call())


@pytest.mark.parametrize("held_back", [False, True])
def test_connection_and_its_tls_state_are_freed_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_back: bool
) -> None:
    """A full garbage collection, which they would otherwise wait for, is rare in a gateway."""

    async def come_and_go() -> None:
        async with served(tmp_path, monkeypatch) as server:
            tls = server.site.trust()
            if held_back:
                _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
                writer.write(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{")
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while not server.connections:
                        await asyncio.sleep(0.01)
                writer.transport.abort()
            else:
                async with connect(f"wss://127.0.0.1:{server.port}/ws", ssl=tls) as client:
                    await client.send(MESSAGE)
                    await client.recv()
            assert len(server.connections) == (1 if held_back else 2)
            await server.wait_until_freed()

    run_on_uvloop(come_and_go())
