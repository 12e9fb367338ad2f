"""The gateway process: listens, admits, holds one session per connection, drains."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import signal
import socket as sockets
import time
import uuid
from collections.abc import Generator
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from appliance import journal, run_folder
from appliance.errors import (
    BadSetting,
    EngineFailed,
    PortTaken,
    Refused,
    ShuttingDown,
)
from appliance.gateway.admission import Admission, Attempt, House
from appliance.gateway.reply import ONE_MOMENT
from appliance.gateway.session import Session, SessionSocket, Shared, engine_socket
from appliance.gateway.tools import chosen
from appliance.gateway.turn_taking import TurnModels
from appliance.link import protocol as p
from appliance.link.health import ask_health
from appliance.link.server import listening
from appliance.metrics import GatewayMeters, render
from appliance.processes import ENGINES
from appliance.settings import Settings

WATCH_SECONDS = 1.0
LAG_PROBE_SECONDS = 0.1
END_SECONDS = 5.0  # what a session has to end in once it was told to
log = journal.get()


def serve(settings: Settings) -> None:
    """Runs the gateway until SIGTERM. Raises CannotStart."""
    gateway = Gateway(settings, read_token(settings.gateway.token_file))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(gateway.run())


def read_token(path: str) -> str:
    """The access token in the file `path`. Raises BadSetting when there is no usable one."""
    try:
        token = Path(path).read_text(encoding="ascii").strip() if path else ""
    except (OSError, UnicodeDecodeError) as problem:
        raise BadSetting(name="gateway.token_file", why=str(problem)) from problem
    if len(token) < 16:
        raise BadSetting(
            name="gateway.token_file", why="it names no file with a token of 16 characters or more"
        )
    return token


class Gateway:
    """State of the process: who is in, what is ready, whether it is draining."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._settings = settings
        self._admission = Admission(settings.gateway, token)
        self._meters = GatewayMeters(settings.profile)
        self._meters.sessions_max.set(settings.gateway.max_sessions)
        journal.on_event(self._meters.count_log_event)
        tools = chosen(settings.llm.tools)
        self._shared = Shared(settings, self._meters, TurnModels(settings.turn), tools)
        self._sessions: set[Session] = set()
        self._waiting_for = "engines"
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then lets calls end."""
        server = _Server(self._config())
        logging.getLogger("uvicorn.error").addFilter(_not_a_denial)
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        listener = _bound(self._settings)
        async with listening(engine_socket(self._settings, "gateway"), self._report):
            background = [
                asyncio.create_task(self._watch_engines()),
                asyncio.create_task(self._measure_lag()),
            ]
            serving = asyncio.create_task(server.serve([listener]))
            stop = asyncio.create_task(stopping.wait())
            # A full collection over all that was imported would stop every call for as long.
            gc.collect()
            gc.freeze()
            log.info(
                "gateway started", host=self._settings.gateway.host, port=listener.getsockname()[1]
            )
            done, _ = await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                await self._drain()
            server.should_exit = True
            await serving
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        log.info("gateway stopped")

    def app(self) -> FastAPI:
        """The HTTP side: the call at /ws, /healthz, /readyz."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/healthz")
        async def healthz() -> Response:
            return JSONResponse({"alive": True})

        @app.get("/readyz")
        async def readyz(request: Request) -> Response:
            house = self._house()
            body = {
                "ready": house.ready,
                "waiting_for": house.waiting_for,
                "draining": house.draining,
            }
            return JSONResponse(body, status_code=200 if house.ready else 503)

        @app.websocket("/ws")
        async def call(websocket: WebSocket) -> None:
            await self._call(websocket)

        return app

    async def _call(self, websocket: WebSocket) -> None:
        refusal = self._admission.refusal(_attempt(websocket), self._house(), time.monotonic())
        if refusal is not None:
            self._meters.sessions_rejected.labels(refusal.reason).inc()
            log.info("refused", reason=refusal.reason, http_status=refusal.http_status)
            await websocket.send_denial_response(_denial(refusal))
            return
        socket = SessionSocket(websocket.scope, websocket.receive, websocket.send)
        session = Session(uuid.uuid4().hex[:12], socket, self._shared)
        # Counted from here on, with no await since the decision: two callers cannot both be last.
        self._sessions.add(session)
        self._empty.clear()
        try:
            await socket.accept()
            await session.run()
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._empty.set()

    def _house(self) -> House:
        drained = self._draining or run_folder.draining_since(self._settings.paths.run) is not None
        return House(len(self._sessions), self._waiting_for, drained)

    def _report(self) -> p.Report:
        house = self._house()
        return p.Report(
            ready=house.ready,
            waiting_for=house.waiting_for,
            metrics=render(self._meters.registry).decode(),
        )

    async def _watch_engines(self) -> None:
        while True:
            missing = [name for name in ENGINES if not await self._is_ready(name)]
            if not missing and not self._shared.patience:
                missing = [] if await self._keep_patience() else ["tts"]
            waiting_for = " and ".join(missing)
            if waiting_for != self._waiting_for:
                log.info("readiness changed", waiting_for=waiting_for, ready=not missing)
            self._waiting_for = waiting_for
            house = self._house()
            if self._meters.note_house(house.ready, house.draining):
                left = house.sessions
                log.info("drain begun" if house.draining else "drain undone", sessions=left)
            await asyncio.sleep(WATCH_SECONDS)

    async def _is_ready(self, name: str) -> bool:
        try:
            return (await ask_health(engine_socket(self._settings, name), 2.0)).ready
        except EngineFailed:
            return False

    async def _keep_patience(self) -> bool:
        """Has the phrase spoken that callers hear when the voice itself is gone."""
        client = self._shared.engine("tts")
        tts = self._settings.tts
        try:
            parts = client.speak(ONE_MOMENT, tts.voice, tts.speed, urgent=True)
            pcm = b"".join([part async for part in parts])
        except EngineFailed as problem:
            log.error("voice unusable", exc_info=problem)
            return False
        finally:
            await client.close()
        self._shared = dataclasses.replace(self._shared, patience=pcm)
        return True

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PROBE_SECONDS
            await asyncio.sleep(LAG_PROBE_SECONDS)
            self._meters.event_loop_lag_seconds.observe(max(0.0, loop.time() - due))

    async def _drain(self) -> None:
        """Takes no more calls, gives those going on time to end, then ends them."""
        self._draining = True
        log.info("draining", sessions=len(self._sessions))
        for seconds in (self._settings.gateway.drain_seconds, END_SECONDS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            for session in self._sessions:
                session.end(ShuttingDown())

    def _config(self) -> uvicorn.Config:
        gateway = self._settings.gateway
        if bool(gateway.tls_certificate) != bool(gateway.tls_key):
            raise BadSetting(name="gateway.tls_key", why="TLS needs a certificate and a key")
        try:
            config = uvicorn.Config(
                self.app(),
                ws="websockets-sansio",
                ws_max_size=max(gateway.max_frame_bytes * 4, 1 << 16),
                ws_per_message_deflate=False,
                ws_ping_interval=20.0,
                ws_ping_timeout=20.0,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                limit_concurrency=gateway.max_sessions * 4 + 64,
                timeout_graceful_shutdown=5,
                ssl_certfile=gateway.tls_certificate or None,
                ssl_keyfile=gateway.tls_key or None,
            )
            config.load()
        except (OSError, ValueError) as problem:
            raise BadSetting(name="gateway.tls_certificate", why=str(problem)) from problem
        return config


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: calls are drained before it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _not_a_denial(record: logging.LogRecord) -> bool:
    """uvicorn reports each refused call as an app that forgot to answer; "refused" is our line."""
    return not str(record.msg).startswith("ASGI callable returned without completing handshake")


def _bound(settings: Settings) -> sockets.socket:
    gateway = settings.gateway
    family = sockets.AF_INET6 if ":" in gateway.host else sockets.AF_INET
    listener = sockets.socket(family, sockets.SOCK_STREAM)
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        listener.bind((gateway.host, gateway.port))
    except OSError as problem:
        listener.close()
        raise PortTaken(host=gateway.host, port=gateway.port) from problem
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _attempt(websocket: WebSocket) -> Attempt:
    return Attempt(
        address=websocket.client.host if websocket.client else "",
        authorization=websocket.headers.get("authorization", ""),
        origin=websocket.headers.get("origin", ""),
    )


def _denial(refusal: Refused) -> Response:
    headers = {}
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    if refusal.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"reason": refusal.reason, "message": str(refusal), "advice": refusal.advice}
    return JSONResponse(body, status_code=refusal.http_status, headers=headers)
