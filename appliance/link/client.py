"""The gateway's end of the link: one `EngineClient` per session and engine.

A connection is made when it is first needed and again after it broke; what an engine has to know
of the past is sent again by itself, because callers hand over the utterances they hold, and the
client knows what of them this connection has seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from appliance.errors import ApplianceError, EngineFailed, EngineGone, catalogue
from appliance.link import protocol as p
from appliance.link.engine import Piece, Result, Said, Studied, Tool, ToolCall, Utterance
from appliance.link.health import URI
from appliance.tasks import spawn

_AUDIO_PART_BYTES = 1 << 15
_OPEN_SECONDS = 5.0  # both ends are on one machine; longer means that the process is frozen


_Reply = p.Token | p.Studied | p.Call | p.Transcript | p.Done | bytes | ApplianceError


class EngineClient:
    """A session with the engine called `engine` behind the unix socket `path`.

    Every method that reaches the engine raises EngineGone when it cannot be reached, goes away or
    says nothing for `stall_seconds` while it owes an answer, and the engine's own EngineFailed.
    """

    def __init__(self, engine: str, path: Path, stall_seconds: float = 20.0) -> None:
        self._engine = engine
        self._path = path
        self._stall_seconds = stall_seconds
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._syncing = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Queue[_Reply]] = {}
        self._sent_bytes: dict[int, int] = {}
        self._ended: set[int] = set()
        self._generating = 0
        self._held = 0  # the generation that we have stopped ourselves: its silence is no stall

    async def connect(self) -> None:
        """Opens the session unless it is open."""
        await self._connection()

    async def close(self) -> None:
        """Ends the session; the engine frees what it held."""
        socket, reader = self._socket, self._reader
        self._socket = self._reader = None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        if socket is not None:
            socket.transport.abort()  # A closing handshake would wait for a frozen process.

    async def send(self, utterance: Utterance) -> None:
        """Sends what this connection has not seen yet of an utterance."""
        socket = await self._connection()
        async with self._syncing:
            await self._sync(socket, utterance)

    async def forget(self, utterance: Utterance) -> None:
        """Tells the engine that the utterance is not referred to again."""
        if self._sent_bytes.pop(utterance.number, None) is not None and self._socket is not None:
            self._ended.discard(utterance.number)
            await self._send(self._socket, p.Forget(utterance=utterance.number))

    async def warm(self, conversation: Sequence[Said], tools: Sequence[Tool] = ()) -> None:
        """Lets the engine get ready for a conversation that begins like this one."""
        socket, told = await self._tell(conversation)
        await self._send(socket, p.Warm(conversation=told, tools=_offered(tools)))

    async def generate(
        self,
        conversation: Sequence[Said],
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        study: int = 0,
    ) -> AsyncGenerator[Piece, None]:
        """The answer: pieces of text, or a ToolCall, then one Result. One at a time in a session.

        `study` is explained at SpeechSession.generate.
        """
        socket, told = await self._tell(conversation)
        number = next(self._numbers)
        message = p.Generate(
            request=number,
            conversation=told,
            max_tokens=max_tokens,
            temperature=temperature,
            tools=_offered(tools),
            study=study,
        )
        self._generating = number
        async with contextlib.aclosing(self._ask(socket, number, message)) as replies:
            async for reply in replies:
                match reply:
                    case p.Token(text=text):
                        yield text
                    case p.Studied(token=token, logprobs=logprobs):
                        yield Studied(token, logprobs)
                    case p.Call(name=name, arguments=arguments):
                        yield ToolCall(name, arguments)
                    case p.Done(reason=reason, stats=stats):
                        yield Result(reason, stats)

    async def hold(self) -> None:
        """Stops the decoding of the running generation, if any, until `resume`."""
        if self._socket is not None and self._generating in self._replies:
            self._held = self._generating
            await self._send(self._socket, p.Hold(request=self._generating))

    async def resume(self) -> None:
        """Lets a held generation go on."""
        self._held = 0
        if self._socket is not None and self._generating in self._replies:
            await self._send(self._socket, p.Resume(request=self._generating))

    async def transcribe(self, utterance: Utterance) -> str:
        """What was said."""
        socket, _ = await self._tell([Said("user", utterance=utterance)])
        number = next(self._numbers)
        message = p.Transcribe(request=number, utterance=utterance.number)
        text = ""
        async with contextlib.aclosing(self._ask(socket, number, message)) as replies:
            async for reply in replies:
                if isinstance(reply, p.Transcript):
                    text = reply.text
        return text

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """24 kHz mono int16 PCM of a phrase, as it becomes available."""
        socket = await self._connection()
        number = next(self._numbers)
        message = p.Speak(request=number, text=text, voice=voice, speed=speed, urgent=urgent)
        async with contextlib.aclosing(self._ask(socket, number, message)) as replies:
            async for reply in replies:
                if isinstance(reply, bytes):
                    yield reply

    async def _ask(
        self, socket: ClientConnection, number: int, message: p.Message
    ) -> AsyncGenerator[_Reply, None]:
        # Unbounded, as what one request can be answered with is bounded by the protocol.
        queue: asyncio.Queue[_Reply] = asyncio.Queue()
        self._replies[number] = queue
        answered = False
        try:
            await self._send(socket, message)
            while not answered:
                try:
                    async with asyncio.timeout(self._stall_seconds):
                        reply = await queue.get()
                except TimeoutError:
                    if number == self._held:
                        continue
                    await self.close()  # A frozen process would swallow every later request too.
                    reply = EngineGone(engine=self._engine)
                if isinstance(reply, ApplianceError):
                    answered = True
                    raise reply
                answered = isinstance(reply, p.Done)
                yield reply
        finally:
            del self._replies[number]
            if not answered and socket is self._socket:
                with contextlib.suppress(EngineGone):
                    await self._send(socket, p.Cancel(request=number))

    async def _tell(
        self, conversation: Sequence[Said]
    ) -> tuple[ClientConnection, tuple[p.SaidTurn, ...]]:
        socket = await self._connection()
        async with self._syncing:
            for turn in conversation:
                if turn.utterance is not None:
                    await self._sync(socket, turn.utterance)
        return socket, tuple(
            p.SaidTurn(
                role=turn.role,
                text=turn.text,
                utterance=turn.utterance.number if turn.utterance is not None else None,
            )
            for turn in conversation
        )

    async def _sync(self, socket: ClientConnection, utterance: Utterance) -> None:
        number = utterance.number
        if number not in self._sent_bytes:
            self._sent_bytes[number] = 0
            await self._send(socket, p.Begin(utterance=number))
        while self._sent_bytes[number] < len(utterance.pcm):
            start = self._sent_bytes[number]
            part = bytes(utterance.pcm[start : start + _AUDIO_PART_BYTES])
            self._sent_bytes[number] = start + len(part)
            await self._send(socket, p.pack_audio(number, part))
        if utterance.complete and number not in self._ended:
            self._ended.add(number)
            await self._send(socket, p.End(utterance=number))

    async def _send(self, socket: ClientConnection, message: p.Message | bytes) -> None:
        try:
            await socket.send(message if isinstance(message, bytes) else p.encode(message))
        except ConnectionClosed as gone:
            raise EngineGone(engine=self._engine) from gone

    async def _connection(self) -> ClientConnection:
        async with self._connecting:
            if self._socket is None:
                socket = await _open(self._engine, self._path)
                self._sent_bytes.clear()
                self._ended.clear()
                self._socket = socket
                self._reader = spawn(self._read(socket), f"{self._engine} link reader")
            return self._socket

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for data in socket:
                if isinstance(data, bytes):
                    number, pcm = p.unpack_audio(data, self._engine)
                    self._deliver(number, pcm)
                    continue
                message = p.decode_to_gateway(data, self._engine)
                if isinstance(message, p.Failed):
                    problem = _raised(self._engine, message)
                    numbers = list(self._replies) if message.request is None else [message.request]
                    for number in numbers:
                        self._deliver(number, problem)
                elif isinstance(message, p.Token | p.Studied | p.Call | p.Transcript | p.Done):
                    self._deliver(message.request, message)
        except ConnectionClosed:
            pass  # Every waiting request is told below.
        finally:
            if self._socket is socket:
                self._socket = None
            for number in list(self._replies):
                self._deliver(number, EngineGone(engine=self._engine))

    def _deliver(self, number: int, reply: _Reply) -> None:
        if queue := self._replies.get(number):
            queue.put_nowait(reply)


def _offered(tools: Sequence[Tool]) -> tuple[p.OfferedTool, ...]:
    return tuple(
        p.OfferedTool(name=tool.name, description=tool.description, parameters=tool.parameters)
        for tool in tools
    )


async def _open(engine: str, path: Path) -> ClientConnection:
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            socket = await unix_connect(
                str(path), URI, compression=None, max_size=p.MAX_MESSAGE_BYTES, ping_interval=None
            )
            await socket.send(p.encode(p.Open(version=p.VERSION)))
            answer = p.decode_to_gateway(str(await socket.recv(decode=True)), engine)
    except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as gone:
        raise EngineGone(engine=engine) from gone
    if isinstance(answer, p.Opened):
        return socket
    await socket.close()
    if isinstance(answer, p.Failed):
        raise _raised(engine, answer)
    raise EngineGone(engine=engine)


def _raised(engine: str, failed: p.Failed) -> ApplianceError:
    """The catalogue's error for what the engine reported, or a plain EngineFailed."""
    kind = catalogue().get(failed.reason, EngineFailed)
    if not issubclass(kind, EngineFailed):
        return EngineGone(engine=engine)
    try:
        return kind(**{"engine": engine, **failed.details})
    except KeyError:
        return EngineFailed(engine=engine)


RECONNECT_SECONDS = 0.5
_Piece = TypeVar("_Piece")


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine is gone; what was asked of it is asked anew, from the start.

    wait  whether this is the moment to ask the caller for patience: the first loss of several
    """

    problem: EngineGone
    wait: bool


async def outlasting(
    ask: Callable[[], AsyncGenerator[_Piece, None]], seconds: float
) -> AsyncGenerator[_Piece | Lost, None]:
    """What `ask()` yields, with a Lost wherever the engine went away.

    Raises EngineGone when it stays away for so many seconds, and whatever else `ask()` raises.
    """
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + seconds
    waiting = False
    while True:
        try:
            async with contextlib.aclosing(ask()) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except EngineGone as problem:
            gives_up = loop.time() > gives_up_at
            yield Lost(problem, wait=not (waiting or gives_up))
            if gives_up:
                raise
            waiting = True
        await asyncio.sleep(RECONNECT_SECONDS)
