"""The gateway process: listen, admit connections, run one session for each, drain and stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import signal
import socket
import time
import uuid
from collections.abc import Generator
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from appliance import journal, run_folder
from appliance.errors import BadSetting, EngineFailed, PortTaken, Refused, ShuttingDown
from appliance.gateway.admission import Admission, ConnectionAttempt, GatewayState
from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.reply import HOLD_TEXT
from appliance.gateway.session import Session, SessionResources, SessionSocket
from appliance.gateway.tools import select_tools
from appliance.gateway.turn_taking import TurnModels
from appliance.link.health import ask_health
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from appliance.metrics import render
from appliance.processes import ENGINES, GATEWAY, socket_path
from appliance.settings import Settings
from appliance.tasks import cancel, spawn

MIN_TOKEN_CHARS = 16
ENGINE_CHECK_SECONDS = 1.0  # between two checks of the engines
HEALTH_TIMEOUT_SECONDS = 2.0
LAG_PROBE_SECONDS = 0.1
CLOSE_SECONDS = 5.0  # for sessions to close after a drain
PING_SECONDS = 20.0  # between two WebSocket pings; also the timeout of a ping
MIN_MESSAGE_LIMIT_BYTES = 1 << 16
log = journal.get()


def serve(settings: Settings) -> None:
    """Run the gateway until SIGTERM. Raises CannotStart, or the error of a failed task."""
    server = GatewayServer(settings, read_token(settings.gateway.token_file))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run())


def read_token(path: str) -> str:
    """Return the access token in the file `path`. Raises BadSetting if it has no usable token."""
    try:
        token = Path(path).read_text(encoding="ascii").strip() if path else ""
    except (OSError, UnicodeDecodeError) as problem:
        raise BadSetting(name="gateway.token_file", why=str(problem)) from problem
    if len(token) < MIN_TOKEN_CHARS:
        raise BadSetting(
            name="gateway.token_file",
            why=f"it must name a file with a token of {MIN_TOKEN_CHARS} characters or more",
        )
    return token


class GatewayServer:
    """The sessions, readiness and life cycle of the process."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._settings = settings
        self._admission = Admission(settings.gateway, token)
        self._metrics = GatewayMetrics(settings.profile)
        self._metrics.sessions_max.set(settings.gateway.max_sessions)
        journal.on_event(self._metrics.count_log_event)
        self._resources = SessionResources(
            settings, self._metrics, TurnModels(settings.turn), select_tools(settings.llm.tools)
        )
        self._sessions: set[Session] = set()
        self._no_sessions = asyncio.Event()
        self._no_sessions.set()
        self._waiting_for = "engines"  # until the first check
        self._stopping = asyncio.Event()
        self._draining = False
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        If a background task fails, drain and raise its error: supervisord restarts the process.
        """
        server = _Server(self._uvicorn_config())
        logging.getLogger("uvicorn.error").addFilter(_is_not_a_refusal)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        listener = _listening_socket(self._settings)
        async with serve_link(socket_path(self._settings.paths.run, GATEWAY), self._report):
            background = [
                spawn(self._watch_engines(), "engine watch", on_failure=self._fail),
                spawn(self._measure_lag(), "lag probe", on_failure=self._fail),
            ]
            serving = asyncio.create_task(server.serve([listener]))
            stopping = asyncio.create_task(self._stopping.wait())
            # Otherwise each garbage collection would scan all imported modules, and pause every
            # session while it runs.
            gc.collect()
            gc.freeze()
            log.info(
                "gateway started", host=self._settings.gateway.host, port=listener.getsockname()[1]
            )
            try:
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping.is_set():
                    await self._drain()
                server.should_exit = True
                await serving
            finally:
                await cancel(*background, stopping)
        if self._failure is not None:
            raise self._failure
        log.info("gateway stopped")

    def app(self) -> FastAPI:
        """Return the HTTP application: sessions at /ws, probes at /healthz and /readyz."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/healthz")
        async def healthz() -> Response:
            return JSONResponse({"alive": True})

        @app.get("/readyz")
        async def readyz() -> Response:
            state = self._state()
            body = {
                "ready": state.ready,
                "waiting_for": state.waiting_for,
                "draining": state.draining,
            }
            return JSONResponse(body, status_code=200 if state.ready else 503)

        @app.websocket("/ws")
        async def connect(websocket: WebSocket) -> None:
            await self._serve_client(websocket)

        return app

    async def _serve_client(self, websocket: WebSocket) -> None:
        refusal = self._admission.refusal(_attempt(websocket), self._state(), time.monotonic())
        if refusal is not None:
            self._metrics.sessions_rejected.labels(refusal.reason).inc()
            log.info("refused", reason=refusal.reason, http_status=refusal.http_status)
            await websocket.send_denial_response(_denial(refusal))
            return
        client = SessionSocket(websocket.scope, websocket.receive, websocket.send)
        session = Session(uuid.uuid4().hex[:12], client, self._resources)
        # There is no await between the decision and this line, so two clients cannot both get the
        # last free slot.
        self._sessions.add(session)
        self._no_sessions.clear()
        try:
            await client.accept()
            await session.run()
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._no_sessions.set()

    def _state(self) -> GatewayState:
        draining = self._draining or run_folder.draining_since(self._settings.paths.run) is not None
        return GatewayState(len(self._sessions), self._waiting_for, draining)

    def _report(self) -> HealthReport:
        state = self._state()
        return HealthReport(
            ready=state.ready,
            waiting_for=state.waiting_for,
            metrics=render(self._metrics.registry).decode(),
        )

    async def _watch_engines(self) -> None:
        while True:
            missing = [name for name in ENGINES if not await self._is_ready(name)]
            if not missing and not self._resources.hold_message:
                missing = [] if await self._prepare_hold_message() else ["tts"]
            waiting_for = " and ".join(missing)
            if waiting_for != self._waiting_for:
                log.info("readiness changed", waiting_for=waiting_for, ready=not missing)
            self._waiting_for = waiting_for
            state = self._state()
            if self._metrics.set_state(state.ready, state.draining):
                log.info(
                    "drain begun" if state.draining else "drain undone", sessions=state.sessions
                )
            await asyncio.sleep(ENGINE_CHECK_SECONDS)

    async def _is_ready(self, engine: str) -> bool:
        try:
            path = socket_path(self._settings.paths.run, engine)
            return (await ask_health(path, HEALTH_TIMEOUT_SECONDS)).ready
        except EngineFailed:
            return False

    async def _prepare_hold_message(self) -> bool:
        """Synthesize the hold message. Return whether it succeeded."""
        client = self._resources.engine_client("tts")
        tts = self._settings.tts
        try:
            chunks = client.speak(HOLD_TEXT, tts.voice, tts.speed, urgent=True)
            pcm = b"".join([chunk async for chunk in chunks])
        except EngineFailed as problem:
            log.error("voice unusable", exc_info=problem)
            return False
        finally:
            await client.close()
        self._resources = dataclasses.replace(self._resources, hold_message=pcm)
        return True

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PROBE_SECONDS
            await asyncio.sleep(LAG_PROBE_SECONDS)
            self._metrics.event_loop_lag_seconds.observe(max(0.0, loop.time() - due))

    def _fail(self, error: BaseException) -> None:
        """Stop the gateway, because without its background tasks readiness would never change."""
        self._failure = self._failure or error
        self._stopping.set()

    async def _drain(self) -> None:
        """Admit no sessions, wait `gateway.drain_seconds` for the open ones, then close them."""
        self._draining = True
        log.info("draining", sessions=len(self._sessions))
        for seconds in (self._settings.gateway.drain_seconds, CLOSE_SECONDS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._no_sessions.wait()
            for session in self._sessions:
                session.end(ShuttingDown())

    def _uvicorn_config(self) -> uvicorn.Config:
        gateway = self._settings.gateway
        try:
            config = uvicorn.Config(
                self.app(),
                ws="websockets-sansio",
                # Above gateway.max_frame_bytes: wire.py refuses a large frame with a reason.
                ws_max_size=max(gateway.max_frame_bytes * 4, MIN_MESSAGE_LIMIT_BYTES),
                ws_per_message_deflate=False,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
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
    """uvicorn without its signal handlers: the gateway drains before uvicorn stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _is_not_a_refusal(record: logging.LogRecord) -> bool:
    """Drop uvicorn's error about each refused upgrade: the gateway logs "refused" instead."""
    return not str(record.msg).startswith("ASGI callable returned without completing handshake")


def _listening_socket(settings: Settings) -> socket.socket:
    gateway = settings.gateway
    family = socket.AF_INET6 if ":" in gateway.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((gateway.host, gateway.port))
    except OSError as problem:
        listener.close()
        raise PortTaken(host=gateway.host, port=gateway.port) from problem
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _attempt(websocket: WebSocket) -> ConnectionAttempt:
    return ConnectionAttempt(
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
