"""One call to the appliance over a WebSocket: connect, send, receive, close."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from client.backoff import delay_seconds
from client.config import Config
from client.errors import CannotConnect, ClientError
from client.explain import explain_close, explain_failure
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


class ClientCall:
    """A connected call. Created by `connect`."""

    def __init__(self, socket: ClientConnection, clock: Clock, early: deque[Arrival]) -> None:
        self._socket = socket
        self._clock = clock
        self._early = early  # arrived during the handshake
        self._closing = False
        self._sent_texts = 0
        self._sent_starts = 0

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
                raise explain_close(closed) from closed
            yield _decode_arrival(raw, self._clock())

    async def close(self) -> None:
        """End the call. Has no effect on a call that has ended."""
        self._closing = True
        await self._socket.close()

    async def _send(self, frame: Frame) -> None:
        try:
            await self._socket.send(encode(frame))
        except ConnectionClosed as closed:
            if not self._closing:
                raise explain_close(closed) from closed


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

    Temporary failures (busy, starting, nothing listens yet) are retried with backoff for
    `retry_seconds`; `on_retry` gets the error and the delay in seconds. Raises CallRefused,
    CannotConnect, CallDropped or UsageError.
    """
    give_up_at = clock() + retry_seconds
    attempt = 0
    while True:
        try:
            return await connect_once(config, clock)
        except ClientError as error:
            delay = delay_seconds(attempt, error.retry_after_seconds, jitter)
            if not error.retryable or clock() + delay > give_up_at:
                raise
            on_retry(error, delay)
        attempt += 1
        await sleep(delay)


async def connect_once(config: Config, clock: Clock = time.monotonic) -> ClientCall:
    """Make one attempt to connect. Raises the errors of `connect`."""
    headers = {"Authorization": f"Bearer {config.token}"} if config.token else {}
    try:
        socket = await websocket_connect(
            config.url,
            ssl=config.tls(),
            additional_headers=headers,
            compression=None,  # PCM does not compress, and deflate would delay it
            proxy=None,  # the appliance is on this network, and no proxy should see its token
            open_timeout=OPEN_TIMEOUT_SECONDS,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
        )
    except (OSError, InvalidHandshake, EOFError) as error:
        raise explain_failure(error, config.host, OPEN_TIMEOUT_SECONDS) from error
    try:
        early = await _handshake(socket, clock)
    except BaseException:
        await socket.close()
        raise
    return ClientCall(socket, clock, early)


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
