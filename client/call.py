"""One call to the appliance over a WebSocket: connect, send, receive, close.

While the call lasts, a host that has vanished is noticed within 4 seconds (liveness.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from client.config import Config
from client.errors import CallDropped, CannotConnect, ClientError
from client.explain import explain_close, explain_failure
from client.hosts import Hosts
from client.liveness import TICK_SECONDS, Liveness, Pulse
from client.wire import (
    PLAYBACK_STARTED,
    RTVI_VERSION,
    AudioFrame,
    Frame,
    RTVIMessage,
    WireError,
    decode,
    encode,
)

OPEN_TIMEOUT_SECONDS = 10.0
NEXT_HOST_SECONDS = 3.0  # the same, if there is another host to call
READY_TIMEOUT_SECONDS = 20.0  # until bot-ready: the appliance builds a pipeline meanwhile
CLOSE_TIMEOUT_SECONDS = 2.0

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that arrived, or in `problem` why it could not be decoded.

    received_at  seconds of the call's clock
    """

    received_at: float
    frame: Frame | None
    problem: str = ""


class WatchedConnection(ClientConnection):
    """A connection that calls `on_data` for everything that arrives, also a part of a frame."""

    on_data: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.on_data is not None:
            self.on_data()
        super().data_received(data)


class ClientCall:
    """A connected call. Created by `connect`.

    url   that of the host which holds the call
    host  its name and port
    """

    def __init__(
        self, socket: WatchedConnection, clock: Clock, early: deque[Arrival], config: Config
    ) -> None:
        self.url, self.host = config.url, config.host
        self._socket = socket
        self._clock = clock
        self._early = early  # arrived during the handshake
        self._closing = False
        self._sent_texts = 0
        self._sent_starts = 0
        self._lost: CallDropped | None = None
        self._liveness = Liveness(time.monotonic())
        socket.on_data = self._liveness.heard
        self._watch = asyncio.create_task(self._watch_host())

    async def send_audio(self, pcm: bytes) -> None:
        """Send mono int16 PCM at 16 kHz, ideally 40 ms of it. Raises CallDropped."""
        await self._send(AudioFrame(pcm))

    async def send_text(self, text: str) -> None:
        """Send typed text. The bot is interrupted and answers aloud. Raises CallDropped."""
        self._sent_texts += 1
        options = {"run_immediately": True, "audio_response": True}
        data = {"content": text, "options": options}
        await self._send(RTVIMessage("send-text", data, id=f"text-{self._sent_texts}"))

    async def send_playback_started(self) -> None:
        """Tell the appliance that its reply has become audible. Raises CallDropped."""
        self._sent_starts += 1
        data = {"t": PLAYBACK_STARTED}
        await self._send(RTVIMessage("client-message", data, id=f"playback-{self._sent_starts}"))

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """Yield all that arrives until `close`. Raises CallDropped if the call ends earlier."""
        while True:
            while self._early:
                yield self._early.popleft()
            try:
                raw = await self._socket.recv()
            except ConnectionClosed as closed:
                if self._closing:
                    return
                raise self._dropped(closed) from closed
            yield _decode_arrival(raw, self._clock())

    async def close(self) -> None:
        """End the call. Has no effect on a call that has ended."""
        self._closing = True
        self._watch.cancel()
        await self._socket.close()

    async def _send(self, frame: Frame) -> None:
        try:
            await self._socket.send(encode(frame))
        except ConnectionClosed as closed:
            if not self._closing:
                raise self._dropped(closed) from closed

    def _dropped(self, closed: ConnectionClosed) -> CallDropped:
        return self._lost or explain_close(closed)

    async def _watch_host(self) -> None:
        """End the connection when the host is lost."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(TICK_SECONDS)
                match self._liveness.tick(time.monotonic()):
                    case Pulse.PING:
                        await self._socket.ping()
                    case Pulse.LOST:
                        text = f"{self.host} is lost: nothing arrives from it"
                        self._lost = CallDropped(text, retryable=True)
                        self._socket.transport.abort()
                        return


class DirectConnect(websocket_connect):
    """Connects to the host that the user named, and to no other: follows no redirect."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def connect(
    config: Config,
    *,
    retry_seconds: float = 0.0,
    on_retry: Callable[[ClientError, float], None] = lambda _error, _delay_seconds: None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> ClientCall:
    """Open a call; the bot is ready when this returns.

    The hosts of the settings are called in their order until one accepts the call. Temporary
    failures (busy, starting, nothing listens yet) are retried with backoff for `retry_seconds`;
    `on_retry` gets the error and the delay in seconds, which is 0 before another host is called.
    Raises CallRefused, CannotConnect, CallDropped or UsageError: the error of the last attempt.
    """
    give_up_at = clock() + retry_seconds
    configs = config.hosts
    hosts = Hosts(len(configs), jitter)
    open_seconds = OPEN_TIMEOUT_SECONDS if len(configs) == 1 else NEXT_HOST_SECONDS
    while True:
        place = hosts.next(clock())
        try:
            return await connect_once(configs[place], clock, open_seconds)
        except ClientError as error:
            hosts.failed(place, error, clock())
            delay = hosts.wait_seconds(clock())
            if delay == math.inf or (delay and clock() + delay > give_up_at):
                raise
            on_retry(error, delay)
        if delay:
            await sleep(delay)


async def connect_once(
    config: Config, clock: Clock = time.monotonic, open_seconds: float = OPEN_TIMEOUT_SECONDS
) -> ClientCall:
    """Make one attempt to connect to the first host. Raises the errors of `connect`."""
    tls = config.tls()
    try:
        socket = await DirectConnect(
            config.url,
            ssl=tls,
            additional_headers=config.headers(),
            compression=None,  # PCM does not compress, and deflate would delay it
            proxy=None,  # the appliance is on this network, and no proxy should see its token
            open_timeout=open_seconds,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            ping_interval=None,  # ClientCall pings
            create_connection=WatchedConnection,
        )
    except (OSError, InvalidHandshake, EOFError) as error:
        raise explain_failure(error, config.host, open_seconds, over_tls=tls is not None) from error
    assert isinstance(socket, WatchedConnection)
    try:
        early = await _handshake(socket, clock)
    except BaseException:
        await socket.close()
        raise
    return ClientCall(socket, clock, early, config)


async def _handshake(socket: ClientConnection, clock: Clock) -> deque[Arrival]:
    """Send client-ready and wait for bot-ready. Returns all frames that arrived, with bot-ready."""
    about = {"library": "voice-client", "platform": "python"}
    ready = RTVIMessage("client-ready", {"version": RTVI_VERSION, "about": about}, "client-ready")
    early: deque[Arrival] = deque()
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            await socket.send(encode(ready))
            while True:
                arrival = _decode_arrival(await socket.recv(), clock())
                early.append(arrival)
                if isinstance(arrival.frame, RTVIMessage) and arrival.frame.type == "bot-ready":
                    return early
    except ConnectionClosed as closed:
        raise explain_close(closed) from closed
    except TimeoutError as error:
        raise CannotConnect(
            f"connected, but the bot was not ready within {READY_TIMEOUT_SECONDS:g} s",
            retryable=True,
        ) from error


def _decode_arrival(raw: bytes | str, received_at: float) -> Arrival:
    try:
        return Arrival(received_at, decode(raw))
    except WireError as error:
        return Arrival(received_at, None, str(error))
