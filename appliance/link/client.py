"""The gateway's end of the link: one `EngineClient` per session and engine.

A connection is opened when it is first needed, and opened again if it has broken. The client keeps
the utterances that conversations refer to, and tracks how much of each the current connection has
sent. So a restarted engine receives them again, without any work by the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from appliance.errors import ApplianceError, EngineFailed, EngineGone, catalogue
from appliance.link import protocol
from appliance.link.engine import ChatMessage, Chunk, GenerateRequest, Tool
from appliance.link.health import URI
from appliance.link.utterance import Utterance
from appliance.tasks import spawn

OPEN_SECONDS = 5.0  # both ends are on one machine; a process that takes longer has hung
_AUDIO_PART_BYTES = 1 << 15
_Answer = (
    protocol.TokenMessage
    | protocol.ToolCallMessage
    | protocol.TranscriptMessage
    | protocol.DoneMessage
)
_Reply = _Answer | bytes | ApplianceError


class SentUtterances:
    """Tracks how much of each utterance one connection has sent. No I/O."""

    def __init__(self) -> None:
        self._sent_bytes: dict[int, int] = {}
        self._ended: set[int] = set()

    def unsent(self, utterance: Utterance) -> Iterator[protocol.LinkMessage | bytes]:
        """Yield the messages that the engine lacks; each counts as sent once it is yielded.

        Audio that is added to the utterance during the iteration is included.
        """
        if utterance.id not in self._sent_bytes:
            self._sent_bytes[utterance.id] = 0
            yield protocol.BeginMessage(utterance=utterance.id)
        while (start := self._sent_bytes[utterance.id]) < len(utterance.pcm):
            part = bytes(utterance.pcm[start : start + _AUDIO_PART_BYTES])
            self._sent_bytes[utterance.id] = start + len(part)
            yield protocol.pack_audio(utterance.id, part)
        if utterance.complete and utterance.id not in self._ended:
            self._ended.add(utterance.id)
            yield protocol.EndMessage(utterance=utterance.id)

    def forget(self, utterance: int) -> bool:
        """Treat the utterance as unsent. Return whether any part of it had been sent."""
        self._ended.discard(utterance)
        return self._sent_bytes.pop(utterance, None) is not None


@dataclass(slots=True)
class _Connection:
    """One connection. When it breaks, a new object replaces it."""

    socket: ClientConnection
    sent: SentUtterances = field(default_factory=SentUtterances)
    reader: asyncio.Task[None] | None = None


class EngineClient:
    """A session with the engine called `engine` behind the unix socket `path`.

    Every method that talks to the engine raises EngineGone if the engine cannot be reached, closes
    the connection, or sends nothing for `stall_seconds` while a reply is due. Other failures that
    the engine reports are raised as the matching subclass of EngineFailed.
    """

    def __init__(self, engine: str, path: Path, stall_seconds: float = 20.0) -> None:
        self._engine = engine
        self._path = path
        self._stall_seconds = stall_seconds
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._syncing = asyncio.Lock()
        self._utterances: dict[int, Utterance] = {}
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Queue[_Reply]] = {}
        self._generating = 0
        self._held = 0  # the generation paused by `hold`: it may send nothing for longer

    async def connect(self) -> None:
        """Open the session if it is not open yet."""
        await self._connect()

    async def close(self) -> None:
        """End the session. The engine frees its resources."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.reader is not None:
            connection.reader.cancel()
            await asyncio.gather(connection.reader, return_exceptions=True)
        connection.socket.transport.abort()  # a closing handshake would wait for a frozen process

    def add(self, utterance: Utterance) -> None:
        """Keep an utterance, so that chat messages can refer to it by its id. It may still grow."""
        self._utterances[utterance.id] = utterance

    async def send(self, utterance: int) -> None:
        """Send the unsent part of an utterance. Does nothing if the utterance was forgotten."""
        await self._sync(await self._connect(), [utterance])

    async def forget(self, utterance: int) -> None:
        """Drop an utterance here and in the engine; no message refers to it again."""
        self._utterances.pop(utterance, None)
        async with self._syncing:
            connection = self._connection
            if connection is not None and connection.sent.forget(utterance):
                await self._send(connection, protocol.ForgetMessage(utterance=utterance))

    async def prefill(
        self,
        conversation: tuple[ChatMessage, ...],
        tools: tuple[Tool, ...] = (),
        background: bool = False,
    ) -> None:
        """Ask the engine to prefill for a conversation that begins like this one.

        `background`: nobody will wait for it soon. It is ignored while the engine prefills.
        """
        connection = await self._connect()
        await self._sync(connection, _utterances(conversation))
        message = protocol.PrefillMessage(
            conversation=conversation, tools=tools, background=background
        )
        await self._send(connection, message)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Generate a reply: chunks of text or a ToolCall, then a Result. One at a time."""
        connection = await self._connect()
        await self._sync(connection, _utterances(request.conversation))
        self._generating = id = next(self._ids)
        message = protocol.GenerateMessage(request=id, generation=request)
        async with contextlib.aclosing(self._ask(connection, id, message)) as replies:
            async for reply in replies:
                match reply:
                    case protocol.TokenMessage(text=text):
                        yield text
                    case protocol.ToolCallMessage(call=call):
                        yield call
                    case protocol.DoneMessage(result=result):
                        yield result

    async def confirm(self) -> None:
        """Tell the engine that the user waits for the running generation, which was speculative."""
        if self._connection is not None and self._generating in self._replies:
            message = protocol.ConfirmMessage(request=self._generating)
            await self._send(self._connection, message)

    async def hold(self) -> None:
        """Pause the running generation, if any, until `resume`."""
        if self._connection is not None and self._generating in self._replies:
            self._held = self._generating
            message = protocol.HoldMessage(request=self._generating)
            await self._send(self._connection, message)

    async def resume(self) -> None:
        """Continue a held generation."""
        self._held = 0
        if self._connection is not None and self._generating in self._replies:
            message = protocol.ResumeMessage(request=self._generating)
            await self._send(self._connection, message)

    async def transcribe(self, *utterances: int) -> str:
        """Return the words of a question that was spoken in these complete utterances."""
        connection = await self._connect()
        await self._sync(connection, utterances)
        id = next(self._ids)
        message = protocol.TranscribeMessage(request=id, utterances=utterances)
        text = ""
        async with contextlib.aclosing(self._ask(connection, id, message)) as replies:
            async for reply in replies:
                if isinstance(reply, protocol.TranscriptMessage):
                    text = reply.text
        return text

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        """Synthesize a phrase. Yields 24 kHz mono int16 PCM as it becomes available."""
        connection = await self._connect()
        id = next(self._ids)
        message = protocol.SpeakMessage(
            request=id, text=text, voice=voice, speed=speed, urgent=urgent
        )
        async with contextlib.aclosing(self._ask(connection, id, message)) as replies:
            async for reply in replies:
                if isinstance(reply, bytes):
                    yield reply

    async def _ask(
        self, connection: _Connection, id: int, message: protocol.LinkMessage
    ) -> AsyncGenerator[_Answer | bytes, None]:
        """Send a request and yield its replies up to `done`. If closed earlier, cancel it."""
        # The queue needs no bound: the protocol limits the replies to one request.
        queue: asyncio.Queue[_Reply] = asyncio.Queue()
        self._replies[id] = queue
        answered = False
        try:
            await self._send(connection, message)
            while not answered:
                reply = await self._next_reply(id, queue)
                if isinstance(reply, ApplianceError):
                    answered = True
                    raise reply
                answered = isinstance(reply, protocol.DoneMessage)
                yield reply
        finally:
            del self._replies[id]
            if not answered and connection is self._connection:
                with contextlib.suppress(EngineGone):
                    await self._send(connection, protocol.CancelMessage(request=id))

    async def _next_reply(self, id: int, queue: asyncio.Queue[_Reply]) -> _Reply:
        while True:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    return await queue.get()
            except TimeoutError:
                if id != self._held:
                    await self.close()  # a frozen process would not answer later requests either
                    return EngineGone(engine=self._engine)

    async def _sync(self, connection: _Connection, utterances: Iterable[int]) -> None:
        """Send the unsent parts of utterances. The engine refuses unknown utterances."""
        async with self._syncing:
            for id in utterances:
                if (utterance := self._utterances.get(id)) is not None:
                    for message in connection.sent.unsent(utterance):
                        await self._send(connection, message)

    async def _send(self, connection: _Connection, message: protocol.LinkMessage | bytes) -> None:
        data = message if isinstance(message, bytes) else protocol.encode(message)
        try:
            await connection.socket.send(data)
        except ConnectionClosed as gone:
            raise EngineGone(engine=self._engine) from gone

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None:
                connection = _Connection(await _open(self._engine, self._path))
                connection.reader = spawn(self._read(connection), f"{self._engine} link reader")
                self._connection = connection
            return self._connection

    async def _read(self, connection: _Connection) -> None:
        try:
            async for data in connection.socket:
                self._receive(data)
        except ConnectionClosed:
            pass  # every waiting request gets an EngineGone below
        finally:
            if self._connection is connection:
                self._connection = None
            for id in list(self._replies):
                self._deliver(id, EngineGone(engine=self._engine))

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._deliver(*protocol.unpack_audio(data, self._engine))
            return
        message = protocol.decode_to_gateway(data, self._engine)
        match message:
            case protocol.FailedMessage(request=None):
                for id in list(self._replies):
                    self._deliver(id, _error(self._engine, message))
            case protocol.FailedMessage(request=int(id)):
                self._deliver(id, _error(self._engine, message))
            case (
                protocol.TokenMessage()
                | protocol.ToolCallMessage()
                | protocol.TranscriptMessage()
                | protocol.DoneMessage()
            ):
                self._deliver(message.request, message)

    def _deliver(self, id: int, reply: _Reply) -> None:
        if queue := self._replies.get(id):
            queue.put_nowait(reply)


def _utterances(conversation: tuple[ChatMessage, ...]) -> list[int]:
    return [message.utterance for message in conversation if message.utterance is not None]


async def _open(engine: str, path: Path) -> ClientConnection:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            socket = await unix_connect(
                str(path),
                URI,
                compression=None,
                max_size=protocol.MAX_MESSAGE_BYTES,
                ping_interval=None,
            )
            await socket.send(protocol.encode(protocol.OpenMessage(version=protocol.VERSION)))
            answer = protocol.decode_to_gateway(str(await socket.recv(decode=True)), engine)
    except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as gone:
        raise EngineGone(engine=engine) from gone
    if isinstance(answer, protocol.OpenedMessage):
        return socket
    await socket.close()
    if isinstance(answer, protocol.FailedMessage):
        raise _error(engine, answer)
    raise EngineGone(engine=engine)


def _error(engine: str, failed: protocol.FailedMessage) -> ApplianceError:
    """Return the catalogue's error for what the engine reported, or a plain EngineFailed."""
    kind = catalogue().get(failed.reason, EngineFailed)
    if not issubclass(kind, EngineFailed):
        return EngineGone(engine=engine)
    try:
        return kind(**{"engine": engine, **failed.details})
    except KeyError:
        return EngineFailed(engine=engine)
