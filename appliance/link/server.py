"""The engine's end of the link: sockets, requests and cancellation around an `Engine`.

`host` is the whole life of an engine process. It listens before the model is loaded, so that
health can be asked at any time; sessions are refused with `not_ready` until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

from appliance import journal
from appliance.errors import (
    ApplianceError,
    BadRequest,
    EngineBusy,
    EngineDied,
    EngineFailed,
    EngineGone,
    NotReady,
)
from appliance.link import protocol as p
from appliance.link.engine import (
    Piece,
    Result,
    SpeechEngine,
    SpeechSession,
    Studied,
    Tool,
    ToolCall,
    Turn,
    VoiceEngine,
    VoiceSession,
)
from appliance.tasks import spawn

MAX_REQUESTS = 8  # of one session at a time; the gateway needs three
MAX_UTTERANCES = 256  # held at a time in one session

AnyEngine = SpeechEngine | VoiceEngine
AnySession = SpeechSession | VoiceSession
Status = Callable[[], p.Report]


class Work:
    """The requests of all sessions of a process, so that a stop can let them finish."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self.draining = False

    async def drain(self, seconds: float) -> None:
        """Takes no more requests and waits for those that run, so long at most."""
        self.draining = True
        if self.running:
            await asyncio.wait(self.running, timeout=seconds)


class Connection:
    """One caller's session with the engine."""

    def __init__(
        self, socket: ServerConnection, status: Status, engine: AnyEngine | None, work: Work
    ) -> None:
        self._work = work
        self._socket = socket
        self._status = status
        self._engine = engine
        self._name = engine.name if engine else "gateway"
        self._session: AnySession | None = None
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._gates: dict[int, asyncio.Event] = {}
        self._utterances: set[int] = set()
        self._warming: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serves the connection until it closes, then frees all it held."""
        try:
            async for data in self._socket:
                try:
                    await self._receive(data)
                except ApplianceError as problem:
                    await self._send(_failed(None, problem))
        finally:
            work = [*self._requests.values(), *([self._warming] if self._warming else [])]
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            if self._session is not None:
                await self._session.close()

    async def _receive(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            number, pcm = p.unpack_audio(data, self._name)
            if number not in self._utterances:
                raise BadRequest(engine=self._name, what="audio of an unknown utterance")
            self._speech().hear(number, pcm)
            return
        match p.decode_to_engine(data, self._name):
            case p.Health():
                await self._send(self._status())
            case p.Open(version=version):
                await self._open(version)
            case p.Begin(utterance=number):
                if len(self._utterances) >= MAX_UTTERANCES:
                    raise EngineBusy(engine=self._name)
                self._speech().begin(number)
                self._utterances.add(number)
            case p.End(utterance=number):
                self._speech().end(self._known(number))
            case p.Forget(utterance=number):
                self._speech().forget(self._known(number))
                self._utterances.discard(number)
            case p.Warm(conversation=conversation, tools=tools):
                session, turns = self._speech(), self._turns(conversation)
                if self._warming is not None:
                    self._warming.cancel()
                warming = _warm(session, turns, _offered(tools), self._name)
                self._warming = spawn(warming, f"{self._name} warming")
            case p.Generate() as asked:
                self._begin(asked.request, self._generate(self._speech(), asked))
            case p.Transcribe() as asked:
                number = self._known(asked.utterance)
                self._begin(asked.request, self._transcribe(self._speech(), asked.request, number))
            case p.Speak() as asked:
                self._begin(asked.request, self._speak(self._voice(), asked))
            case p.Hold(request=number):
                if gate := self._gates.get(number):
                    gate.clear()
            case p.Resume(request=number):
                if gate := self._gates.get(number):
                    gate.set()
            case p.Cancel(request=number):
                if task := self._requests.get(number):
                    task.cancel()

    async def _open(self, version: int) -> None:
        if self._engine is None or self._session is not None or version != p.VERSION:
            raise BadRequest(engine=self._name, what=f"to open version {version}")
        if not self._status().ready:
            raise NotReady(waiting_for=self._name)
        self._session = self._engine.open()
        await self._send(p.Opened(version=p.VERSION, engine=self._name))

    def _begin(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        if self._work.draining:
            work.close()
            raise EngineGone(engine=self._name)
        if number in self._requests or len(self._requests) >= MAX_REQUESTS:
            work.close()
            raise EngineBusy(engine=self._name)
        self._gates[number] = asyncio.Event()
        self._gates[number].set()
        task = asyncio.create_task(self._run(number, work))
        self._requests[number] = task
        self._work.running.add(task)
        task.add_done_callback(lambda _: self._finished(number))

    def _finished(self, number: int) -> None:
        self._work.running.discard(self._requests.pop(number))
        self._gates.pop(number, None)

    async def _run(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(ConnectionClosed):  # the gateway left; run() cleans up
            try:
                await work
            except ApplianceError as problem:
                log.warning("request failed", engine=self._name, reason=problem.reason)
                await self._send(_failed(number, problem))
            except ConnectionClosed:
                raise
            except Exception:
                log.exception("request crashed", engine=self._name)
                await self._send(_failed(number, EngineFailed(engine=self._name)))

    async def _generate(self, session: SpeechSession, asked: p.Generate) -> None:
        turns = self._turns(asked.conversation)
        number, tools = asked.request, _offered(asked.tools)
        pieces = session.generate(turns, asked.max_tokens, asked.temperature, tools, asked.study)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                await self._send(_told(number, piece))
                await self._gates[number].wait()

    async def _transcribe(self, session: SpeechSession, number: int, utterance: int) -> None:
        text = await session.transcribe(utterance)
        await self._send(p.Transcript(request=number, text=text))
        await self._send(p.Done(request=number))

    async def _speak(self, session: VoiceSession, asked: p.Speak) -> None:
        chunks = session.speak(asked.text, asked.voice, asked.speed, asked.urgent)
        async with contextlib.aclosing(chunks):
            async for pcm in chunks:
                for start in range(0, len(pcm), p.MAX_AUDIO_BYTES):
                    part = pcm[start : start + p.MAX_AUDIO_BYTES]
                    await self._socket.send(p.pack_audio(asked.request, part))
        await self._send(p.Done(request=asked.request))

    def _turns(self, conversation: tuple[p.SaidTurn, ...]) -> list[Turn]:
        for turn in conversation:
            if turn.utterance is not None:
                self._known(turn.utterance)
        return [Turn(turn.role, turn.text, turn.utterance) for turn in conversation]

    def _known(self, utterance: int) -> int:
        if utterance not in self._utterances:
            raise BadRequest(engine=self._name, what="an unknown utterance")
        return utterance

    def _speech(self) -> SpeechSession:
        if not isinstance(self._session, SpeechSession):
            raise BadRequest(engine=self._name, what="hearing or answering")
        return self._session

    def _voice(self) -> VoiceSession:
        if not isinstance(self._session, VoiceSession):
            raise BadRequest(engine=self._name, what="speaking")
        return self._session

    async def _send(self, message: p.Message) -> None:
        await self._socket.send(p.encode(message))


async def _warm(session: SpeechSession, turns: list[Turn], tools: list[Tool], engine: str) -> None:
    """Warming is a courtesy: what it could not do, the request that follows does or reports."""
    try:
        await session.warm(turns, tools)
    except ApplianceError as problem:
        log.warning("warming failed", engine=engine, reason=problem.reason)


def _offered(tools: tuple[p.OfferedTool, ...]) -> list[Tool]:
    return [Tool(tool.name, tool.description, tool.parameters) for tool in tools]


def _told(number: int, piece: Piece) -> p.Message:
    match piece:
        case str():
            return p.Token(request=number, text=piece)
        case ToolCall():
            return p.Call(request=number, name=piece.name, arguments=piece.arguments)
        case Studied():
            return p.Studied(request=number, token=piece.token, logprobs=piece.logprobs)
        case Result():
            return p.Done(request=number, reason=piece.reason, stats=piece.stats)


def _failed(request: int | None, problem: ApplianceError) -> p.Failed:
    return p.Failed(
        request=request,
        reason=problem.reason,
        message=str(problem),
        details={name: str(value) for name, value in problem.details.items()},
    )


DRAIN_SECONDS = 3.0  # what supervisord grants an engine to stop, less what freeing a model takes
log = journal.get()


@contextlib.asynccontextmanager
async def listening(
    path: Path, status: Status, engine: AnyEngine | None = None, work: Work | None = None
) -> AsyncIterator[Server]:
    """Serves the link on the unix socket `path`, mode 0600; without an engine only `health`."""
    shared = work or Work()

    async def handle(socket: ServerConnection) -> None:
        connection = Connection(socket, status, engine, shared)
        with contextlib.suppress(ConnectionClosed):  # the gateway left; run() let go of everything
            await connection.run()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await unix_serve(
        handle, str(path), compression=None, max_size=p.MAX_MESSAGE_BYTES, ping_interval=None
    )
    path.chmod(0o600)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


def host(engine: AnyEngine, path: Path) -> None:
    """Runs an engine process until SIGTERM, upon which running requests may finish.

    Raises CannotStart when the model cannot be loaded, and EngineDied or ModelSick later.
    """
    asyncio.run(_host(engine, path))


async def _host(engine: AnyEngine, path: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    work = Work()
    ready = False

    def status() -> p.Report:
        return p.Report(
            ready=ready and not work.draining,
            waiting_for="" if ready else engine.name,
            metrics=engine.metrics().decode(),
        )

    async with listening(path, status, engine, work):
        started = loop.time()
        starting = asyncio.create_task(engine.start())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            ready = True
            log.info("engine ready", engine=engine.name, seconds=round(loop.time() - started, 3))
            died = asyncio.create_task(engine.died())
            await asyncio.wait({died, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.done():
                died.result()
                raise EngineDied(engine=engine.name)
            died.cancel()
            await work.drain(DRAIN_SECONDS)
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
    await engine.stop()
    log.info("engine stopped", engine=engine.name)
