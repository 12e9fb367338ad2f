"""The engine's end of the link: sockets, requests and cancellation around an LLM or TTS engine.

`serve_link` serves the link on a unix socket; `run_engine` runs an engine process. The socket
exists before the model is loaded, so that health can be requested at any time. Until the model is
loaded, sessions are refused with `not_ready`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
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
    SocketTaken,
)
from appliance.link import protocol
from appliance.link.engine import (
    ChatMessage,
    Chunk,
    GenerateRequest,
    LLMEngine,
    LLMSession,
    Result,
    ToolCall,
    TTSEngine,
    TTSSession,
)
from appliance.tasks import spawn

MAX_REQUESTS = 8  # concurrent requests per session; the gateway needs three
MAX_UTTERANCES = 256  # utterances that one session may hold
DRAIN_SECONDS = 3.0  # supervisord's stop timeout for engines, minus the time to free the model

AnyEngine = LLMEngine | TTSEngine
AnySession = LLMSession | TTSSession
GetHealth = Callable[[], protocol.HealthReport]
log = journal.get()


class RunningRequests:
    """The running requests of all sessions of a process; a shutdown waits for them."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    async def drain(self, seconds: float) -> None:
        """Accept no more requests and wait at most `seconds` for the running ones."""
        self.draining = True
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)


class EngineConnection:
    """One session with the engine, over one socket."""

    def __init__(
        self,
        socket: ServerConnection,
        health: GetHealth,
        engine: AnyEngine | None,
        running: RunningRequests,
    ) -> None:
        self._running = running
        self._socket = socket
        self._health = health
        self._engine = engine
        self._name = engine.name if engine else "gateway"
        self._session: AnySession | None = None
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._gates: dict[int, asyncio.Event] = {}  # cleared while a generation is held
        self._utterances: set[int] = set()
        self._prefilling: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the connection until it closes, then free its resources."""
        try:
            async for data in self._socket:
                try:
                    if isinstance(data, bytes):
                        self._receive_audio(data)
                    else:
                        await self._receive(protocol.decode_to_engine(data, self._name))
                except ApplianceError as problem:
                    await self._send(_failed_message(None, problem))
        finally:
            tasks = [*self._requests.values(), *([self._prefilling] if self._prefilling else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()

    def _receive_audio(self, data: bytes) -> None:
        id, pcm = protocol.unpack_audio(data, self._name)
        if id not in self._utterances:
            raise BadRequest(engine=self._name, what="audio for an unknown utterance")
        self._llm_session().add_audio(id, pcm)

    async def _receive(self, message: protocol.ToEngine) -> None:
        match message:
            case protocol.HealthRequest():
                await self._send(self._health())
            case protocol.OpenMessage(version=version):
                await self._open(version)
            case protocol.BeginMessage(utterance=id):
                if len(self._utterances) >= MAX_UTTERANCES:
                    raise EngineBusy(engine=self._name)
                self._llm_session().begin(id)
                self._utterances.add(id)
            case protocol.EndMessage(utterance=id):
                self._llm_session().end(self._require_known(id))
            case protocol.ForgetMessage(utterance=id):
                self._llm_session().forget(self._require_known(id))
                self._utterances.discard(id)
            case protocol.PrefillMessage(conversation=conversation):
                session = self._llm_session()
                self._check_utterances(conversation)
                if self._prefilling is not None and not self._prefilling.done():
                    if message.background:
                        return
                    self._prefilling.cancel()
                prefill = self._prefill(session, message)
                self._prefilling = spawn(prefill, f"{self._name} prefill")
            case protocol.GenerateMessage(request=id, generation=request):
                self._start_request(id, self._generate(self._llm_session(), id, request))
            case protocol.TranscribeMessage(request=id, utterances=utterances):
                session = self._llm_session()
                for utterance in utterances:
                    self._require_known(utterance)
                self._start_request(id, self._transcribe(session, id, utterances))
            case protocol.SpeakMessage(request=id):
                self._start_request(id, self._speak(self._tts_session(), message))
            case protocol.ConfirmMessage(request=id):
                if id in self._requests:
                    self._llm_session().confirm()
            case protocol.HoldMessage(request=id):
                if gate := self._gates.get(id):
                    gate.clear()
            case protocol.ResumeMessage(request=id):
                if gate := self._gates.get(id):
                    gate.set()
            case protocol.CancelMessage(request=id):
                if task := self._requests.get(id):
                    task.cancel()

    async def _open(self, version: int) -> None:
        if self._engine is None or self._session is not None or version != protocol.VERSION:
            raise BadRequest(engine=self._name, what=f"to open version {version}")
        if not self._health().ready:
            raise NotReady(waiting_for=self._name)
        self._session = self._engine.open()
        await self._send(protocol.OpenedMessage(version=protocol.VERSION, engine=self._name))

    def _start_request(self, id: int, work: Coroutine[Any, Any, None]) -> None:
        if self._running.draining:
            work.close()
            raise EngineGone(engine=self._name)
        if id in self._requests or len(self._requests) >= MAX_REQUESTS:
            work.close()
            raise EngineBusy(engine=self._name)
        self._gates[id] = asyncio.Event()
        self._gates[id].set()
        task = asyncio.create_task(self._run(id, work))
        self._requests[id] = task
        self._running.tasks.add(task)
        task.add_done_callback(lambda _: self._finished(id, work))

    def _finished(self, id: int, work: Coroutine[Any, Any, None]) -> None:
        work.close()  # if the task was cancelled before it began
        self._running.tasks.discard(self._requests.pop(id))
        self._gates.pop(id, None)

    async def _run(self, id: int, work: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(ConnectionClosed):  # the gateway disconnected; run() cleans up
            try:
                await work
            except ApplianceError as problem:
                log.warning("request failed", engine=self._name, reason=problem.reason)
                await self._send(_failed_message(id, problem))
            except ConnectionClosed:
                raise
            except Exception:
                log.exception("request crashed", engine=self._name)
                await self._send(_failed_message(id, EngineFailed(engine=self._name)))

    async def _generate(self, session: LLMSession, id: int, request: GenerateRequest) -> None:
        self._check_utterances(request.conversation)
        async with contextlib.aclosing(session.generate(request)) as chunks:
            async for chunk in chunks:
                await self._send(_reply_message(id, chunk))
                await self._gates[id].wait()

    async def _transcribe(self, session: LLMSession, id: int, utterances: tuple[int, ...]) -> None:
        text = await session.transcribe(*utterances)
        await self._send(protocol.TranscriptMessage(request=id, text=text))
        await self._send(protocol.DoneMessage(request=id))

    async def _speak(self, session: TTSSession, message: protocol.SpeakMessage) -> None:
        chunks = session.speak(message.text, message.voice, message.speed, message.urgent)
        async with contextlib.aclosing(chunks):
            async for pcm in chunks:
                for start in range(0, len(pcm), protocol.MAX_AUDIO_BYTES):
                    part = pcm[start : start + protocol.MAX_AUDIO_BYTES]
                    await self._socket.send(protocol.pack_audio(message.request, part))
        await self._send(protocol.DoneMessage(request=message.request))

    async def _prefill(self, session: LLMSession, message: protocol.PrefillMessage) -> None:
        """Prefill. A failure is not reported to the gateway: `generate` will report it."""
        try:
            await session.prefill(message.conversation, message.tools, message.background)
        except ApplianceError as problem:
            log.warning("prefill failed", engine=self._name, reason=problem.reason)

    def _check_utterances(self, conversation: tuple[ChatMessage, ...]) -> None:
        for message in conversation:
            if message.utterance is not None:
                self._require_known(message.utterance)

    def _require_known(self, utterance: int) -> int:
        if utterance not in self._utterances:
            raise BadRequest(engine=self._name, what="a turn with an unknown utterance")
        return utterance

    def _llm_session(self) -> LLMSession:
        if not isinstance(self._session, LLMSession):
            raise BadRequest(engine=self._name, what="transcription or generation")
        return self._session

    def _tts_session(self) -> TTSSession:
        if not isinstance(self._session, TTSSession):
            raise BadRequest(engine=self._name, what="synthesis")
        return self._session

    async def _send(self, message: protocol.LinkMessage) -> None:
        await self._socket.send(protocol.encode(message))


def _reply_message(id: int, chunk: Chunk) -> protocol.LinkMessage:
    match chunk:
        case str():
            return protocol.TokenMessage(request=id, text=chunk)
        case ToolCall():
            return protocol.ToolCallMessage(request=id, call=chunk)
        case Result():
            return protocol.DoneMessage(request=id, result=chunk)


def _failed_message(request: int | None, problem: ApplianceError) -> protocol.FailedMessage:
    return protocol.FailedMessage(
        request=request,
        reason=problem.reason,
        message=str(problem),
        details={name: str(value) for name, value in problem.details.items()},
    )


@contextlib.asynccontextmanager
async def serve_link(
    path: Path,
    health: GetHealth,
    engine: AnyEngine | None = None,
    running: RunningRequests | None = None,
) -> AsyncIterator[Server]:
    """Serve the link on the unix socket `path`, mode 0600. Without an engine, serve only health.

    Raises SocketTaken if another process serves it.
    """
    requests = running or RunningRequests()

    async def handle(accepted: ServerConnection) -> None:
        connection = EngineConnection(accepted, health, engine, requests)
        with contextlib.suppress(ConnectionClosed):  # the client disconnected; run() has cleaned up
            await connection.run()

    path.parent.mkdir(parents=True, exist_ok=True)
    with _owned(path):
        path.unlink(missing_ok=True)
        server = await unix_serve(
            handle,
            sock=_bind(path),
            compression=None,
            max_size=protocol.MAX_MESSAGE_BYTES,
            ping_interval=None,
        )
        try:
            yield server
        finally:
            server.close()
            await server.wait_closed()
            path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    """Return a unix socket with this path, mode 0600. A confined process cannot change a mode."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Lock the file beside a socket, so that no second process replaces or deletes the socket.

    The kernel releases the lock when the process ends, however it ends. The file stays, because a
    process that deleted it could delete the one that another process has just locked. Raises
    SocketTaken.
    """
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as locked:
            raise SocketTaken(path=path) from locked
        yield


def run_engine(engine: AnyEngine, path: Path) -> None:
    """Run an engine process until SIGTERM. Running requests may finish before it stops.

    Raises CannotStart when the model cannot be loaded, and EngineDied or ModelUnhealthy later.
    """
    asyncio.run(_run_engine(engine, path))


async def _run_engine(engine: AnyEngine, path: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    running = RunningRequests()
    ready = False

    def health() -> protocol.HealthReport:
        return protocol.HealthReport(
            ready=ready and not running.draining,
            waiting_for="" if ready else engine.name,
            metrics=engine.metrics().decode(),
        )

    async with serve_link(path, health, engine, running):
        started_at = loop.time()
        starting = asyncio.create_task(engine.start())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            ready = True
            seconds = round(loop.time() - started_at, 3)
            log.info("engine ready", engine=engine.name, seconds=seconds)
            died = asyncio.create_task(engine.died())
            await asyncio.wait({died, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.done():
                died.result()
                raise EngineDied(engine=engine.name)
            died.cancel()
            await running.drain(DRAIN_SECONDS)
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
    await engine.stop()
    log.info("engine stopped", engine=engine.name)
