"""uvicorn with an accept loop that bounds what clients cost before they are known.

- A connection that sends nothing takes a socket and nothing else.
- A connection has HEAD_SECONDS for its TLS handshake and the head of its request. The head is
  bounded and complete before it is parsed (limits.py).
- A connection carries one request and is closed after the answer. A body is only read if its
  length was sent and is small.
- Connections that wait for a head, and requests that wait for their answer, have a fixed number of
  places. A newcomer always gets one, so silent clients do not keep out the probes.
- An accepted WebSocket does not take a place: its server limits the number of sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Generator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from appliance import journal
from appliance.tasks import spawn
from appliance.web.limits import HeadReader, HeadTooLarge, WaitingRoom

HEAD_SECONDS = 10.0  # from the TCP connection to the complete head, TLS handshake included
ANSWER_SECONDS = 10.0  # from the head to the end of the answer, or to the accepted WebSocket
WAITING_PLACES = 256
ANSWERING_PLACES = 64
MAX_READ_BODY_BYTES = 2_048
MAX_BODY_BYTES = 65_536  # received and dropped, so that the answer is not lost in a TCP reset
RECEIVE_BYTES = 1 << 16  # decrypted at once
ACCEPT_RETRY_SECONDS = 0.1  # while the process has no free file descriptor
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
TLS_HANDSHAKE = b"\x16"  # the first byte of a TLS connection, RFC 8446 section 5.1
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
# In the ASGI scope's extensions: whether the client has a certificate of the trusted authority.
CLIENT_CERTIFICATE = "appliance.client_certificate"
log = journal.get()


class WebServer(uvicorn.Server):
    """uvicorn with the limits above, and without its signal handlers if `signals` is false.

    `answer_seconds` is how long an answer may take, up to its last byte.
    """

    def __init__(
        self, config: uvicorn.Config, *, answer_seconds: float = ANSWER_SECONDS, signals: bool
    ) -> None:
        super().__init__(config)
        self.answer_seconds = answer_seconds
        self.waiting: WaitingRoom[Visitor] = WaitingRoom(WAITING_PLACES)
        self.answering: WaitingRoom[Visitor] = WaitingRoom(ANSWERING_PLACES)
        self._signals = signals
        logging.getLogger("uvicorn.error").addFilter(_is_not_a_strangers_fault)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle stop signals as uvicorn does, if `signals` was set."""
        with super().capture_signals() if self._signals else contextlib.nullcontext():
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections on `sockets`, which listen and do not block."""
        self.servers = cast(Any, [_AcceptLoop(self, each) for each in sockets or []])
        self.started = True

    async def connect(self, visitor: Visitor, connection: socket.socket) -> None:
        """Make a protocol for a new connection, after the TLS handshake."""
        tls = self.config.ssl

        def protocol() -> asyncio.BaseProtocol:
            http = BoundedHttp(self, visitor)
            return OneBuffer(http) if tls else http

        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=HEAD_SECONDS if tls else None,
            )
        except OSError:  # also ssl.SSLError, and TimeoutError of the handshake
            visitor.drop()


class _AcceptLoop:
    """Accepts the connections of one listening socket. Has the methods of asyncio.Server."""

    def __init__(self, server: WebServer, listener: socket.socket) -> None:
        self._server = server
        self._listener = listener
        self._task = asyncio.create_task(self._accept())

    def close(self) -> None:
        self._task.cancel()

    async def wait_closed(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        failing = False
        while True:
            try:
                connection, peer = await loop.sock_accept(self._listener)
            except OSError as problem:
                if not failing:  # the next tries may fail for long, many times a second
                    log.warning("no connection accepted", exc_info=problem)
                failing = True
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                continue
            failing = False
            Visitor(self._server, connection, str(peer[0]))


class Visitor:
    """A connection that is not (yet) a session: its place, and the time that it has left."""

    def __init__(self, server: WebServer, connection: socket.socket, address: str) -> None:
        self._server = server
        self._connection = connection
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._deadline = self._start_deadline(HEAD_SECONDS)
        self._take_place(server.waiting)
        # A transport of uvloop with TLS has 300 KiB. Who sends nothing gets none.
        self._connecting: asyncio.Task[None] | None = None
        asyncio.get_running_loop().add_reader(connection, self._connect)

    def connected(self, transport: asyncio.Transport) -> None:
        """Note that the TLS handshake is complete."""
        self._transport = transport

    def head_complete(self) -> None:
        """Take a place among the requests that are being answered."""
        self.leave()
        self._deadline = self._start_deadline(self._server.answer_seconds)
        self._take_place(self._server.answering)

    def leave(self) -> None:
        """Free the place: the connection has become a session, or has ended."""
        self._deadline.cancel()
        self._server.waiting.leave(self)
        self._server.answering.leave(self)

    def drop(self) -> None:
        """End the connection at once, and free the place."""
        self.leave()
        if self._transport is not None:
            self._transport.abort()
            return
        if self._connecting is not None:
            self._connecting.cancel()
        else:
            asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()

    def _connect(self) -> None:
        """Begin the TLS handshake, or to read the head: the first bytes have arrived."""
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connecting = spawn(self._server.connect(self, self._connection), "connection")

    def _take_place(self, room: WaitingRoom[Visitor]) -> None:
        displaced = room.enter(self, self._address)
        if displaced is not None:
            displaced.drop()

    def _start_deadline(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self.drop)


class BoundedHttp(HttpToolsProtocol):
    """One request of a visitor, which is parsed when its head is complete."""

    def __init__(self, server: WebServer, visitor: Visitor) -> None:
        super().__init__(server.config, server.server_state, {})
        self._visitor = visitor
        self._reader: HeadReader | None = HeadReader()
        self._body_bytes = 0
        self._body_left = 0  # what is still to be read of a small body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._visitor.connected(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._visitor.leave()
        self._let_go()

    def _let_go(self) -> None:
        """Drop what refers to this object, so that it is freed at once, and its TLS state with it.

        Otherwise it waits for a full garbage collection, which is rare in a gateway that has frozen
        its modules.
        """
        self.parser = None  # type: ignore[assignment]
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self._take_body(data)
            return
        if data.startswith(TLS_HANDSHAKE):  # no method begins with it; the client learns at once
            self.transport.write(BAD_REQUEST)
            self.transport.close()
            return
        try:
            complete = self._reader.feed(data)
        except HeadTooLarge:
            self._reader = None
            self.transport.write(TOO_LARGE)
            self.transport.close()
            return
        if complete is None:
            return
        self._reader = None
        self._visitor.head_complete()
        head, rest = complete
        super().data_received(head)
        if rest and not self.transport.is_closing():
            self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope.setdefault("extensions", {})[CLIENT_CERTIFICATE] = has_certificate(self.transport)

    def on_headers_complete(self) -> None:
        self._body_left = small_length(self.headers)
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        """Hand the visitor on to the WebSocket's protocol, which has to be a BoundedWebSocket."""
        super().handle_websocket_upgrade()
        protocol: Any = self.transport.get_protocol()
        protocol.visitor = self._visitor
        self._let_go()
        if not protocol.handshake_initiated:  # websockets refuses a body, and writes no answer
            self.transport.write(BAD_REQUEST)
            self.transport.close()
        if self.transport.get_extra_info("sslcontext") is not None:
            self.transport.set_protocol(OneBuffer(protocol))

    def _take_body(self, data: bytes) -> None:
        """Pass on what is left of a small body, and drop the rest."""
        wanted = data[: self._body_left]
        if wanted:
            self._body_left -= len(wanted)
            super().data_received(wanted)
        self._body_bytes += len(data) - len(wanted)
        if self._body_bytes > MAX_BODY_BYTES:
            self.transport.pause_reading()


class OneBuffer(asyncio.BufferedProtocol):
    """Receives the data of another protocol in one buffer of the process.

    For an asyncio.Protocol, uvloop lets OpenSSL decrypt each record into 256 KiB of new memory. An
    audio frame then takes this server 97 us of CPU time; 71 us with this buffer, 59 us without TLS.
    """

    _buffer = memoryview(bytearray(RECEIVE_BYTES))  # read before the next record is decrypted

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.connection_made = protocol.connection_made  # type: ignore[method-assign]
        self.data_received = protocol.data_received
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]
        self._connection_lost = protocol.connection_lost

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol, and let go of it.

        uvloop's TLS state keeps methods of this object, and the protocol keeps the transport with
        that state. Such a cycle of 32 KiB would wait for a full garbage collection.
        """
        self._connection_lost(exc)
        vars(self).clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))


def small_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the length of a request's body if it is small enough to be read, otherwise 0."""
    lengths = [value for name, value in headers if name == b"content-length"]
    encoded = any(name == b"transfer-encoding" for name, _ in headers)
    if encoded or len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,6}", lengths[0]):
        return 0
    length = int(lengths[0])
    return length if length <= MAX_READ_BODY_BYTES else 0


def has_certificate(transport: asyncio.Transport) -> bool:
    """Return whether the client presented a certificate; the TLS handshake has verified it."""
    return bool(transport.get_extra_info("peercert"))


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that does not block. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _is_not_a_strangers_fault(record: logging.LogRecord) -> bool:
    """Drop what clients can make uvicorn log as often as they like: malformed requests.

    Refused upgrades are logged by the gateway.
    """
    refusal = "ASGI callable returned without completing handshake"
    return record.levelno >= logging.ERROR and not str(record.msg).startswith(refusal)
