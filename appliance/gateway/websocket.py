"""The WebSocket of a client, with limits on everything that is not a message.

uvicorn and websockets bound the size of a message only. Here, every frame is counted: pings, empty
frames and pieces of messages cost the event loop as much as audio does. A flood ends its own
connection, before it is parsed to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame
from websockets.http11 import Request

from appliance.errors import FrameTooBig, ProtocolViolated, SessionEnded, TooFast
from appliance.gateway.rate_limit import TokenBucket
from appliance.web.server import CLIENT_CERTIFICATE, Visitor, has_certificate

FRAMES_PER_SECOND = 300.0  # six times what a client with frames of 20 ms sends
FRAMES_BURST = 6_000.0  # what such a client sends at once after a stall of two minutes
SLICE_BYTES = 4_096  # parsed between two looks at the count; 700 of the smallest frames
MAX_UNREAD_MESSAGES = 8  # waiting for the session, before reading stops
MAX_PIECES = 64  # of one message
MAX_UNREAD_BYTES = 1 << 20  # waiting for a client that does not read; 20 s of audio are as much
MAX_BYTES_AFTER_CLOSE = 1 << 20  # read while the client's answer to a close frame is awaited
LINGER_SECONDS = 1.0  # for a client in a flood to read the close frame
VIOLATION_HOOK = "appliance.violation"  # in the ASGI scope's extensions


class ViolationHook:
    """Calls `report` when the client of a connection does what this module does not allow.

    That is a flood of frames, or a frame that the WebSocket protocol forbids.
    """

    report: Callable[[SessionEnded], None] | None = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with the limits above.

    The ASGI scope's extension VIOLATION_HOOK is a ViolationHook. Whoever serves the client sets its
    `report`, and closes the WebSocket when it is called. From then on nothing more is parsed.
    """

    visitor: Visitor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._frames = TokenBucket(FRAMES_PER_SECOND, FRAMES_BURST)
        self._violation = ViolationHook()
        self._deaf = False  # whether received data is ignored
        self._bytes_after_close = 0
        self._linger: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)
        self.visitor.leave()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            self.transport.abort()  # a client has to wait for the answer to its handshake
            return
        if len(data) <= SLICE_BYTES and not (self._deaf or self.close_sent):
            super().data_received(data)  # the usual case: an audio frame
            return
        for start in range(0, len(data), SLICE_BYTES):
            if self._deaf or self.transport.is_closing():
                return
            if self.close_sent:
                self._bytes_after_close += SLICE_BYTES
                if self._bytes_after_close > MAX_BYTES_AFTER_CLOSE:
                    self._stop_listening()
                    return
            super().data_received(data[start : start + SLICE_BYTES])

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # not refused by the library
            extensions: Any = self.scope["extensions"]
            extensions[VIOLATION_HOOK] = self._violation
            extensions[CLIENT_CERTIFICATE] = has_certificate(self.transport)

    def handle_events(self) -> None:
        """Handle the events of a slice, unless the client has used up its frames."""
        # All of them are frames, except for the request at the start, which counts as one, too.
        frames = len(self.conn.events)
        if frames and not self._frames.take(frames, self.loop.time()):
            self.conn.events_received()
            self.conn.data_to_send()  # pongs
            self._end_flood()
            return
        super().handle_events()

    def handle_parser_exception(self) -> None:
        """Say that the client is to blame: the library closes the connection (1002, 1007, 1009)."""
        problem = self.conn.parser_exc
        if isinstance(problem, PayloadTooBig):
            size = (problem.size or 0) + (problem.current_size or 0)
            self._report(FrameTooBig(size_bytes=size, limit_bytes=problem.max_size))
        elif isinstance(problem, UnicodeDecodeError):
            self._report(ProtocolViolated(what="a close frame has no valid text"))
        else:
            self._report(ProtocolViolated(what=str(problem)))
        super().handle_parser_exception()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_PIECES:
            self._end_flood()
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Pass a message on. Text is refused by wire.py, so it need not be valid.

        uvicorn stops reading with each message, and starts again when it was taken. For each audio
        frame over TLS, that costs another turn of the event loop.
        """
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self._deaf or self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            text = data.decode("utf-8", "replace")
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        if self.queue.qsize() >= MAX_UNREAD_MESSAGES and not self.read_paused:
            self.read_paused = True  # until the queue is empty, see receive()
            self.transport.pause_reading()

    def handle_ping(self) -> None:
        """Answer a ping. A client that does not read its answers is disconnected."""
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.transport.abort()
        elif self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # RFC 6455 asks only for an answer to the latest ping

    def start_keepalive(self) -> None:
        """Give the visitor's place back: the handshake is complete."""
        super().start_keepalive()
        self.visitor.leave()

    def _end_flood(self) -> None:
        if not self._deaf:
            self._stop_listening()
            self._report(TooFast())

    def _report(self, violation: SessionEnded) -> None:
        if self._violation.report is not None:
            self._violation.report(violation)

    def _stop_listening(self) -> None:
        """Read nothing more, and disconnect when the client had time to read the close frame."""
        self._deaf = True
        if not self.read_paused:
            self.transport.pause_reading()
        self.read_paused = False  # or uvicorn would resume reading with the next message
        self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
