"""Clients without a token cannot use up the gateway: heads, handshakes, silent connections."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gc
import socket
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from appliance.errors import WrongToken
from appliance.gateway import server
from appliance.web import server as web
from tests.gateway.certificates import trusting
from tests.gateway.requests import send
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.gateway.simulated_client import TIMEOUT_SECONDS

# What the kernel holds of data that is not read: send and receive buffer of a connection.
KERNEL_BYTES = 16 << 20
NEVER_SECONDS = 3_600.0  # for a head, so that only the number of places ends a connection

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def raw_connections(gateway: RunningGateway, count: int) -> AsyncIterator[list[Connection]]:
    """Open TCP connections that send nothing."""
    opened: list[Connection] = []
    try:
        for _ in range(count):
            connection = await asyncio.open_connection("127.0.0.1", gateway.port)
            opened.append(connection)
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def answer(connection: Connection) -> bytes:
    """Read until the gateway closes the connection."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        try:
            return await connection[0].read()
        except ConnectionError:
            return b""


async def probe(gateway: RunningGateway, path: str = "/healthz") -> int:
    """Fetch `path` over a new connection. Return the status."""
    async with raw_connections(gateway, 1) as (connection,):
        connection[1].write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return int((await answer(connection)).split()[1])


async def test_endless_head_is_cut_off(gateway: RunningGateway) -> None:
    async with raw_connections(gateway, 1) as (connection,):
        writer = connection[1]
        writer.write(b"GET /ws HTTP/1.1\r\nX: ")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 4 * KERNEL_BYTES:
                writer.write(b"a" * 65_536)
                await writer.drain()
                sent += 65_536
        assert sent < KERNEL_BYTES
    assert await probe(gateway) == 200
    assert gateway.log_lines("library") == []


@pytest.mark.parametrize(
    "header",
    [
        "X: " + "a" * 8_000,
        "\r\n".join(["X: a"] * 63),
        "\r\n".join(["X: " + "a" * 4_096] * 4),
    ],
    ids=["long value", "many headers", "large head"],
)
async def test_head_above_a_limit_is_refused_with_431(gateway: RunningGateway, header: str) -> None:
    async with raw_connections(gateway, 1) as (connection,):
        connection[1].write(f"GET /healthz HTTP/1.1\r\n{header}\r\n\r\n".encode())
        assert (await answer(connection)).startswith(b"HTTP/1.1 431 ")


async def test_head_in_single_bytes_is_understood(gateway: RunningGateway) -> None:
    async with raw_connections(gateway, 1) as (connection,):
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":
            connection[1].write(bytes([byte]))
            await connection[1].drain()
        assert (await answer(connection)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET /ws HTTP/1.1\r\nHost: x\r\n"])
async def test_client_that_does_not_complete_its_head_is_let_go(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.3)
    async with make_gateway() as gateway, raw_connections(gateway, 1) as (connection,):
        connection[1].write(sent)
        assert await answer(connection) == b""


async def test_tls_handshake_at_a_plain_gateway_is_answered_at_once(
    gateway: RunningGateway,
) -> None:
    async with raw_connections(gateway, 1) as (connection,):
        connection[1].write(b"\x16\x03\x01")
        assert (await answer(connection)).startswith(b"HTTP/1.1 400 ")


async def test_half_open_tls_handshake_is_let_go_and_others_complete(
    make_gateway: MakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[Path, Path],
) -> None:
    chain, key = certificate
    async with make_gateway(tls_certificate=str(chain), tls_key=str(key)) as gateway:
        monkeypatch.setattr(web, "HEAD_SECONDS", 0.3)
        async with raw_connections(gateway, 2) as (silent, slow):
            slow[1].write(b"\x16\x03\x01")
            assert [await answer(silent), await answer(slow)] == [b"", b""]
        monkeypatch.setattr(web, "HEAD_SECONDS", NEVER_SECONDS)
        async with raw_connections(gateway, web.WAITING_PLACES + 20) as connections:
            await gateway.connect(ssl=trusting(chain))
            assert await answer(connections[0]) == b""
        assert gateway.logged_errors() == []


async def test_request_is_answered_once_and_its_connection_closed(gateway: RunningGateway) -> None:
    async with raw_connections(gateway, 1) as (connection,):
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"
        connection[1].write(request + bytes(30_000))
        assert (await answer(connection)).count(b"HTTP/1.1 200 ") == 1


@contextlib.asynccontextmanager
async def unanswered(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, answer_seconds: float
) -> AsyncIterator[RunningGateway]:
    """Run a gateway that takes `answer_seconds` to give up a login, and answers none."""
    limited = functools.partial(web.WebServer, answer_seconds=answer_seconds)
    monkeypatch.setattr(server, "WebServer", limited)
    end = asyncio.Event()

    async def login(*_: object) -> WrongToken:
        await end.wait()
        return WrongToken()

    async with make_gateway(engines=()) as gateway:
        monkeypatch.setattr(gateway.server.control, "login", login)
        try:
            yield gateway
        finally:
            end.set()


LOGIN = b"POST /login HTTP/1.1\r\nHost: x\r\n"


async def test_request_that_takes_too_long_is_let_go(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        unanswered(make_gateway, monkeypatch, 0.3) as gateway,
        raw_connections(gateway, 1) as (connection,),
    ):
        connection[1].write(LOGIN + b"\r\n")
        assert await answer(connection) == b""


async def test_body_above_the_limit_is_not_received(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits: list[web.BoundedHttp] = []
    made = web.BoundedHttp.connection_made

    def note(visit: web.BoundedHttp, transport: asyncio.Transport) -> None:
        visits.append(visit)
        made(visit, transport)

    monkeypatch.setattr(web.BoundedHttp, "connection_made", note)
    async with (
        unanswered(make_gateway, monkeypatch, NEVER_SECONDS) as gateway,
        raw_connections(gateway, 1) as (connection,),
    ):
        writer = connection[1]
        writer.write(LOGIN + b"Content-Length: 999999999\r\n\r\n")

        async def send() -> None:
            for _ in range(4 * KERNEL_BYTES // 65_536):
                writer.write(bytes(65_536))
                await writer.drain()

        sending = asyncio.create_task(send())
        await gateway.wait_until(
            lambda: sending.done() or (visits and not visits[0].transport.is_reading())
        )
        assert not sending.done()
        sending.cancel()


async def test_probes_get_through_many_requests_without_an_answer(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        unanswered(make_gateway, monkeypatch, NEVER_SECONDS) as gateway,
        raw_connections(gateway, web.ANSWERING_PLACES + 20) as connections,
    ):
        for _, writer in connections:
            writer.write(LOGIN + b"\r\n")
        assert await answer(connections[0]) == b""  # the oldest one had to go
        assert await probe(gateway, "/healthz") == 200


async def test_probes_and_callers_get_through_many_silent_connections(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", NEVER_SECONDS)
    caller = await gateway.connect()
    async with raw_connections(gateway, web.WAITING_PLACES + 100) as connections:
        assert await probe(gateway, "/healthz") == 200
        assert await probe(gateway, "/readyz") == 200
        other = await gateway.connect()
        assert await answer(connections[0]) == b""  # the oldest one had to go
        await caller.type("Hello.")
        assert (await caller.turn(1))["outcome"] == "answered"
        await other.type("Hello.")
        assert (await other.turn(1))["outcome"] == "answered"
    assert gateway.logged_errors() == []


@pytest.mark.parametrize("encrypted", [False, True])
async def test_connection_is_freed_when_it_ends(
    make_gateway: MakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[Path, Path],
    encrypted: bool,
) -> None:
    """A full garbage collection, which it would otherwise wait for, is rare in a gateway."""
    visits: list[weakref.ref[web.BoundedHttp]] = []
    made = web.BoundedHttp.connection_made

    def note(visit: web.BoundedHttp, transport: asyncio.Transport) -> None:
        visits.append(weakref.ref(visit))
        made(visit, transport)

    monkeypatch.setattr(web.BoundedHttp, "connection_made", note)
    chain, key = certificate
    tls = {"tls_certificate": str(chain), "tls_key": str(key)} if encrypted else {}
    context = trusting(chain) if encrypted else None
    async with make_gateway(**tls) as gateway:
        gc.disable()
        try:
            await send(gateway, "GET", "/healthz", tls=context)
            await send(gateway, "POST", "/start", tls=context)
            with pytest.raises(InvalidStatus):
                await gateway.open_socket({"Authorization": "Bearer wrong"}, ssl=context)
            await (await gateway.open_socket(ssl=context)).close()
            assert len(visits) == 4
            await gateway.wait_until(lambda: not any(visit() for visit in visits))
        finally:
            gc.enable()


async def test_client_that_talks_before_the_answer_to_its_handshake_is_let_go(
    gateway: RunningGateway,
) -> None:
    head = (
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with raw_connections(gateway, 1) as (connection,):
        connection[1].write(head.encode() + bytes(1000))
        assert await answer(connection) == b""
    assert gateway.open_sessions() == 0
    assert gateway.logged_errors() == []


@pytest.mark.parametrize("body", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_handshake_with_a_body_is_refused_at_once(gateway: RunningGateway, body: str) -> None:
    head = (
        f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{body}\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with raw_connections(gateway, 1) as (connection,):
        connection[1].write(head.encode())
        assert (await answer(connection)).startswith(b"HTTP/1.1 400 ")
    assert gateway.log_lines("library") == []


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET //ws%00/../healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_malformed_head_is_refused_without_a_log_line(
    gateway: RunningGateway, head: bytes
) -> None:
    async with raw_connections(gateway, 1) as (connection,):
        connection[1].write(head)
        status = (await answer(connection)).split()[1:2]
    assert status in ([], [b"400"], [b"404"], [b"426"])
    assert gateway.log_lines("library") == []
    assert await probe(gateway) == 200


async def test_accepts_that_fail_are_logged_once(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the process has no free file descriptor: ten tries a second would fill the log."""
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter(range(5))

    async def fail_first(listener: socket.socket) -> tuple[socket.socket, Any]:
        if next(failures, None) is not None:
            raise OSError(errno.EMFILE, "too many open files")
        return await accept(listener)

    monkeypatch.setattr(web, "ACCEPT_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "sock_accept", fail_first)
    assert [await probe(gateway), await probe(gateway)] == [200, 200]
    assert len(gateway.log_lines("no connection accepted")) == 1
