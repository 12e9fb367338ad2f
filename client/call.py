"""One call to the appliance over a WebSocket: set up, send, receive, end; and plain words for
everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
)
from websockets.http11 import Response

from client.backoff import delay_seconds
from client.config import Config
from client.errors import BrokeOff, CannotConnect, ClientError, Refused
from client.wire import (
    PLAYBACK_STARTED,
    RTVI_VERSION,
    Audio,
    Frame,
    Message,
    WireError,
    decode,
    encode,
)

OPEN_SECONDS = 10.0  # to set up the connection
READY_SECONDS = 20.0  # until the bot says that it is ready: a pipeline is built in that time
CLOSE_SECONDS = 2.0
RETRYABLE_CLOSE_CODES = (1001, 1006, 1011, 1012, 1013)  # RFC 6455 section 7.4.1, IANA registry

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame, or what was wrong with one, and when it arrived (seconds of the call's clock)."""

    at: float
    frame: Frame | None
    problem: str = ""


class Call:
    """An established call. Made by `connect`."""

    def __init__(self, socket: ClientConnection, clock: Clock, early: deque[Arrival]) -> None:
        self._socket = socket
        self._clock = clock
        self._early = early
        self._ended_by_us = False
        self._sent_texts = 0
        self._sent_starts = 0

    async def send_audio(self, pcm: bytes) -> None:
        """Sends mono int16 PCM at 16 kHz, best 40 ms of it. Raises BrokeOff."""
        await self._send(Audio(pcm))

    async def send_text(self, text: str) -> None:
        """Asks in writing; the bot is interrupted and answers aloud. Raises BrokeOff."""
        self._sent_texts += 1
        options = {"run_immediately": True, "audio_response": True}
        data = {"content": text, "options": options}
        await self._send(Message("send-text", data, id=f"text-{self._sent_texts}"))

    async def send_playback_started(self) -> None:
        """Says that the bot's reply has become audible here. Raises BrokeOff."""
        self._sent_starts += 1
        data = {"t": PLAYBACK_STARTED}
        await self._send(Message("client-message", data, id=f"playback-{self._sent_starts}"))

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """Everything that arrives until `close`. Raises BrokeOff if the call ends before."""
        while True:
            while self._early:
                yield self._early.popleft()
            try:
                raw = await self._socket.recv()
            except ConnectionClosed as closed:
                if self._ended_by_us:
                    return
                raise explain_close(closed) from closed
            yield _arrival(raw, self._clock())

    async def close(self) -> None:
        """Ends the call; harmless when it has ended already."""
        self._ended_by_us = True
        await self._socket.close()

    async def _send(self, frame: Frame) -> None:
        try:
            await self._socket.send(encode(frame))
        except ConnectionClosed as closed:
            if not self._ended_by_us:
                raise explain_close(closed) from closed


async def connect(
    config: Config,
    *,
    patience_seconds: float = 0.0,
    on_retry: Callable[[ClientError, float], None] = lambda _problem, _delay: None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> Call:
    """Sets up a call; the bot is ready when this returns.

    What may pass by itself (busy, starting, nothing listens yet) is tried again with back-off as
    long as `patience_seconds` allow; `on_retry` is told the problem and the delay in seconds.
    Raises Refused, CannotConnect, BrokeOff or UsageError.
    """
    give_up_at = clock() + patience_seconds
    attempt = 0
    while True:
        try:
            return await connect_once(config, clock)
        except ClientError as problem:
            delay = delay_seconds(attempt, problem.retry_after_seconds, chance)
            if not problem.retryable or clock() + delay > give_up_at:
                raise
            on_retry(problem, delay)
        attempt += 1
        await sleep(delay)


async def connect_once(config: Config, clock: Clock = time.monotonic) -> Call:
    """One attempt of `connect`."""
    headers = {"Authorization": f"Bearer {config.token}"} if config.token else {}
    try:
        socket = await websocket_connect(
            config.url,
            ssl=config.tls(),
            additional_headers=headers,
            compression=None,  # PCM does not compress, and deflate would delay it
            proxy=None,  # the appliance is on this network, and its token concerns no proxy
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
        )
    except (OSError, InvalidHandshake, EOFError) as problem:
        raise explain_failure(problem, config) from problem
    try:
        early = await _handshake(socket, clock)
    except BaseException:
        await socket.close()
        raise
    return Call(socket, clock, early)


async def _handshake(socket: ClientConnection, clock: Clock) -> deque[Arrival]:
    """Says client-ready and waits for bot-ready; returns what else arrived meanwhile."""
    about = {"library": "voice-client", "platform": "python"}
    ready = Message("client-ready", {"version": RTVI_VERSION, "about": about}, id="client-ready")
    early: deque[Arrival] = deque()
    try:
        async with asyncio.timeout(READY_SECONDS):
            await socket.send(encode(ready))
            while True:
                arrival = _arrival(await socket.recv(), clock())
                early.append(arrival)
                if isinstance(arrival.frame, Message) and arrival.frame.type == "bot-ready":
                    return early
    except ConnectionClosed as closed:
        raise explain_close(closed) from closed
    except TimeoutError as problem:
        raise CannotConnect(
            f"connected, but the bot was not ready within {READY_SECONDS:g} s", retryable=True
        ) from problem


def _arrival(raw: bytes | str, at: float) -> Arrival:
    try:
        return Arrival(at, decode(raw))
    except WireError as problem:
        return Arrival(at, None, str(problem))


def explain_close(closed: ConnectionClosed) -> BrokeOff:
    """What to tell the user about a connection that was closed by the other side or the network."""
    if closed.rcvd is None:
        return BrokeOff("the call broke off: the connection was lost", retryable=True)
    code, reason = closed.rcvd.code, _printable(closed.rcvd.reason)
    advice = {
        1008: "what this client sends is not allowed there; are both of the same version?",
        1009: "this client sent too large a message; are both of the same version?",
        1011: "something failed there; connect again",
        1012: "it is restarting; connect again in a moment",
        1013: "it has too much to do; connect again later",
    }.get(code, "connect again to go on")
    text = f"the appliance ended the call: {reason or 'no reason given'} ({code}); {advice}"
    return BrokeOff(text, retryable=code in RETRYABLE_CLOSE_CODES)


def explain_failure(problem: Exception, config: Config) -> ClientError:
    """What to tell the user about a connection that could not be set up."""
    host = config.host
    match problem:
        case InvalidStatus():
            return explain_status(problem.response, host)
        case TimeoutError():
            text = f"{host} did not answer within {OPEN_SECONDS:g} s"
            return CannotConnect(text, retryable=True)
        case ssl.SSLCertVerificationError():
            why = problem.verify_message.rstrip(".")
            return CannotConnect(
                f"the certificate of {host} is not trusted: {why}."
                " Name the authority that signed it with --ca or VOICE_CLIENT_CA."
            )
        case ssl.SSLError():
            why = (problem.reason or str(problem)).replace("_", " ").lower()
            return CannotConnect(
                f"no TLS connection to {host}: {why}. Does it speak plain ws:// there?"
            )
        case socket.gaierror():
            return CannotConnect(f"there is no host called {host}; check the URL")
        case InvalidMessage() | EOFError():
            return CannotConnect(
                f"{host} did not answer as a web server does. Does it want wss:// there?",
                retryable=True,
            )
        case InvalidHandshake():
            return CannotConnect(f"{host} is no voice appliance: {problem}")
        case ConnectionRefusedError():
            text = f"nothing listens at {host}; is the appliance running?"
            return CannotConnect(text, retryable=True)
        case OSError() if "Connect call failed" in str(problem):
            text = f"nothing listens at {host}; is the appliance running?"
            return CannotConnect(text, retryable=True)
        case _:
            return CannotConnect(f"cannot reach {host}: {problem}", retryable=True)


def explain_status(response: Response, host: str) -> ClientError:
    """What to tell the user about an HTTP answer that is not the upgrade."""
    status = response.status_code
    said = _body(response.body)
    if status == 401:
        return Refused(
            "wrong or missing access token (401). Name the file that holds the appliance's token"
            " with --token-file or VOICE_CLIENT_TOKEN_FILE."
        )
    if status in (403, 429, 503):
        fallback = {403: "forbidden", 429: "too many attempts", 503: "busy or not ready"}[status]
        text = f"the appliance refused the call ({status}): {said or fallback}"
        asked = retry_after_seconds(response.headers.get("Retry-After"))
        return Refused(text, retryable=status != 403, retry_after_seconds=asked)
    if status == 404:
        return CannotConnect(f"{host} has nothing at this path (404); the usual one is /ws")
    retryable = status in (502, 504)  # a proxy in front of an appliance that restarts
    text = f"{host} answered {status} instead of taking the call{': ' + said if said else ''}"
    return CannotConnect(text, retryable=retryable)


def retry_after_seconds(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """The Retry-After header (RFC 9110 section 10.2.3): seconds, or a date; None if neither."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    except ValueError:
        return None


def _body(body: bytes | bytearray | None) -> str:
    """The message and advice of the appliance's JSON answer, or nothing."""
    try:
        said = json.loads(body or b"")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    parts = [said.get("message"), said.get("advice")]
    return _printable(" ".join(part for part in parts if isinstance(part, str)))


def _printable(text: str) -> str:
    """One line of at most 300 characters, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)[:300].strip()
