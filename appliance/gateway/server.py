"""The gateway process: listen, admit connections, run one session for each, drain and stop."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import signal
import time
import uuid
from collections.abc import Collection, Coroutine
from typing import Any

import uvloop
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from appliance import journal, run_folder, site_lexicon
from appliance.access.credentials import Credential
from appliance.errors import (
    ExpiredToken,
    Full,
    Refused,
    ShuttingDown,
    TokenFull,
    WrongOrigin,
    WrongToken,
)
from appliance.gateway.audit_log import REFUSAL_SECONDS, AuditLog
from appliance.gateway.calls import Calls
from appliance.gateway.engine_watch import EngineWatch
from appliance.gateway.generation.tools import select_tools
from appliance.gateway.http.acceptance_pass import AcceptancePass
from appliance.gateway.http.admission import Admission, ConnectionAttempt, GatewayState
from appliance.gateway.http.endpoints import Endpoints
from appliance.gateway.http.gatekeeper import Gatekeeper, accepted_subprotocol
from appliance.gateway.http.listener import listening_socket, uvicorn_config
from appliance.gateway.http.page import Page
from appliance.gateway.http.refusal_log import RefusalLog
from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.realtime.serializer import RealtimeRequest
from appliance.gateway.session import Session
from appliance.gateway.session_end import SessionSocket
from appliance.gateway.session_resources import SessionResources
from appliance.gateway.speech.unsplit_names import UnsplitNames
from appliance.gateway.turns.turn_models import TurnModels
from appliance.gateway.websocket import VIOLATION_HOOK
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from appliance.metrics import render
from appliance.processes import GATEWAY, socket_path
from appliance.settings import Settings
from appliance.tasks import cancel, spawn
from appliance.tls.policy import is_loopback
from appliance.tls.serving import ServerCertificate
from appliance.web.server import WebServer
from appliance.weights.voices import selectable_voices

ENGINE_CHECK_SECONDS = 1.0  # between two checks of the engines
TOKEN_CHECK_SECONDS = 1.0  # between two looks at the token store and the calls
LAG_PROBE_SECONDS = 0.1
CLOSE_SECONDS = 5.0  # for sessions to close after a drain
log = journal.get()


def serve(settings: Settings, gaps: Collection[str] = ()) -> None:
    """Run the gateway until SIGTERM. Raises CannotStart, or the error of a failed task.

    gaps    what this process is not confined in: values of `appliance.confinement.confine.GAPS`
    """
    server = GatewayServer(settings, Gatekeeper(settings.gateway), gaps)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run())


class GatewayServer:
    """The sessions, readiness and life cycle of the process."""

    def __init__(
        self, settings: Settings, gatekeeper: Gatekeeper, gaps: Collection[str] = ()
    ) -> None:
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._admission = Admission(settings.gateway)
        self._refusals = RefusalLog()
        self._metrics = GatewayMetrics(settings.profile)
        self._metrics.sessions_max.set(settings.gateway.max_sessions)
        for gap in gaps:
            self._metrics.confinement_gap.labels(gap).set(1)
        journal.on_event(self._metrics.count_log_event)
        lexicon, _ = site_lexicon.examine(settings.tts)  # the TTS engine refuses a wrong one
        self._resources = SessionResources(
            settings,
            self._metrics,
            TurnModels(settings.turn),
            select_tools(settings.llm.tools),
            names=UnsplitNames(lexicon.written()),
            voices=selectable_voices(settings) if settings.gateway.realtime_client_settings else (),
        )
        self._calls = Calls()
        self._engines = EngineWatch(settings)
        self._acceptance = AcceptancePass()
        self._stopping = asyncio.Event()
        self._draining = False
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        If a background task fails, drain and raise its error: supervisord restarts the process.
        """
        certificate = ServerCertificate(self._settings.gateway)
        page = Page() if self._settings.gateway.page else None
        gateway = self._settings.gateway
        endpoints = Endpoints(self, certificate, page, gateway.host_name, realtime=gateway.realtime)
        config = uvicorn_config(self._settings.gateway, endpoints, certificate.context)
        server = WebServer(config, signals=False)  # the gateway drains first

        def use_certificate() -> None:
            config.ssl = certificate.context  # of new connections
            self._metrics.tls_certificate_expiry.set(certificate.expires_at)

        def certificate_changed() -> None:
            use_certificate()
            self._audit.certificate_loaded(certificate.sha256, certificate.client_ca_sha256)

        use_certificate()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        listener = listening_socket(self._settings.gateway)
        async with serve_link(socket_path(self._settings.paths.run, GATEWAY), self._report):
            self._audit = AuditLog(self._settings, self._metrics)
            self._audit.started()
            if certificate.context is not None:
                self._audit.certificate_loaded(certificate.sha256, certificate.client_ca_sha256)
            self._acceptance.write(self._settings.paths.run)
            background = self._start_watches(certificate.watch(certificate_changed))
            serving = asyncio.create_task(server.serve([listener]))
            stopping = asyncio.create_task(self._stopping.wait())
            # Otherwise each garbage collection would scan all imported modules, and pause every
            # session while it runs.
            gc.collect()
            gc.freeze()
            self._warn_if_plain()
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
                self._gatekeeper.close()
                self._audit.close()
        if self._failure is not None:
            raise self._failure
        log.info("gateway stopped")

    def _start_watches(self, certificate: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
        """Start the background tasks. `certificate` watches the files of the certificate."""
        watches = {
            "audit summary": self._summarize_refusals(),
            "engine watch": self._watch_engines(),
            "token watch": self._watch_tokens(),
            "lag probe": self._measure_lag(),
            "certificate watch": certificate,
        }
        return [spawn(work, name, on_failure=self._fail) for name, work in watches.items()]

    def _warn_if_plain(self) -> None:
        """Warn if token and speech can be read on the network."""
        gateway = self._settings.gateway
        if not gateway.uses_tls and not is_loopback(gateway.host):
            log.warning("calls are not encrypted", host=gateway.host)

    async def call(
        self, websocket: WebSocket, realtime: RealtimeRequest | None = None
    ) -> Refused | None:
        """Run a call to its end. Return why it is refused instead, or None.

        `realtime`: the request of a client that speaks OpenAI's Realtime protocol.
        """
        attempt = self._acceptance.mark(
            await self._gatekeeper.attempt(websocket), websocket.headers
        )
        refusal = self.refusal(attempt, make_room=True) or self._gatekeeper.use(attempt)
        if refusal is not None or attempt.caller is None:
            return refusal
        caller = attempt.caller
        client = SessionSocket(websocket.scope, websocket.receive, websocket.send)
        name = uuid.uuid4().hex[:12]
        session = Session(name, client, self._resources, realtime)
        websocket.scope["extensions"][VIOLATION_HOOK].report = session.end
        # There is no await between the decision and this line, so two clients cannot both get the
        # last free slot, or use the same ticket.
        self._calls.add(session, caller)
        started_at, outcome = time.monotonic(), "internal"
        self._audit.call_started(name, caller.name)
        try:
            await client.accept(accepted_subprotocol(websocket) if realtime else None)
            ending = await session.run()
            outcome = ending.reason if ending else "left"
        finally:
            self._audit.call_ended(name, caller.name, outcome, time.monotonic() - started_at)
            self._calls.remove(session)
        return None

    async def login(self, request: HTTPConnection, token: str | None) -> tuple[str, int] | Refused:
        """Return a cookie and for how many seconds it is valid, or why the login is refused."""
        attempt = await self._gatekeeper.login_attempt(request, token)
        refusal = self._admission.identity_refusal(attempt, time.monotonic(), time.time())
        self._note_expired(attempt, refusal)
        if refusal is None and attempt.origin not in ("", attempt.own_origin):
            refusal = WrongOrigin()
        if refusal is not None or attempt.caller is None:
            return refusal or WrongToken()
        return self._gatekeeper.cookie(attempt.caller)

    async def start(self, request: HTTPConnection) -> str | Refused:
        """Return a ticket, or why none is given."""
        attempt = await self._gatekeeper.attempt(request)
        refusal = self.refusal(attempt, make_room=False)
        if refusal is None and attempt.kind == "ticket":
            refusal = WrongToken()  # a ticket is for /ws only
        if refusal is not None or attempt.caller is None:
            return refusal or WrongToken()
        return self._gatekeeper.ticket(attempt.caller)

    def trusts(self, origin: str, own_origin: str) -> bool:
        """Whether pages of this web origin may call."""
        return self._admission.trusts(origin, own_origin)

    def refusal(self, attempt: ConnectionAttempt, *, make_room: bool) -> Refused | None:
        """Return why an attempt is refused, or None.

        If the gateway is full, the call that is silent longest gives way; if the token has all its
        calls, the one of them that is silent longest. With `make_room`, that call is ended;
        otherwise this only tells whether there is one.
        """
        now = time.monotonic()
        refusal = self._admission.refusal(attempt, self.state(), now, time.time())
        self._note_expired(attempt, refusal)
        if isinstance(refusal, TokenFull):
            return self._unless_one_yields(refusal, now, attempt.caller, make_room=make_room)
        if isinstance(refusal, Full):
            return self._unless_one_yields(refusal, now, make_room=make_room)
        return refusal

    def no_room(self) -> Refused | None:
        """Return why no call would be let in now, or None. Counts nothing."""
        refusal = self._admission.no_room(self.state())
        if not isinstance(refusal, Full):
            return refusal
        return self._unless_one_yields(refusal, time.monotonic(), make_room=False)

    def _unless_one_yields(
        self, refusal: Refused, now: float, caller: Credential | None = None, *, make_room: bool
    ) -> Refused | None:
        """Return `refusal`, or None if a silent call gives way: with `caller`, one of its own."""
        quietest = self._calls.quietest(now, caller)
        if quietest is None or quietest[1] < self._settings.gateway.yield_seconds:
            return refusal
        if make_room:
            self._calls.give_way(*quietest)
        return None

    def state(self) -> GatewayState:
        """Return the current load and readiness."""
        run = self._settings.paths.run
        draining = self._draining or run_folder.draining_since(run) is not None
        by_token = self._calls.by_token()
        return GatewayState(
            by_token.total(),
            self._engines.waiting_for,
            draining,
            run_folder.closed_since(run) is not None,
            by_token,
            self._calls.seconds_by_token(),
        )

    def unknown_path(self, address: str) -> Refused:
        """Return how to refuse a request for a path that does not exist."""
        return self._admission.unknown_path(address, time.monotonic())

    def refused(self, refusal: Refused) -> None:
        """Count and log a refusal."""
        self._metrics.sessions_rejected.labels(refusal.reason).inc()
        self._audit.refused(refusal.reason)
        if self._refusals.note(refusal.reason, time.monotonic()):
            log.info("refused", reason=refusal.reason, http_status=refusal.http_status)

    def _note_expired(self, attempt: ConnectionAttempt, refusal: Refused | None) -> None:
        """Record who presented an expired token, a ticket or a cookie of one."""
        if isinstance(refusal, ExpiredToken) and attempt.caller is not None:
            self._audit.expired_token_used(attempt.caller.name)

    def _log_refusals(self) -> None:
        for reason, refusals in self._refusals.summary(time.monotonic()).items():
            log.info("refused more", reason=reason, refusals=refusals)

    def _report(self) -> HealthReport:
        state = self.state()
        return HealthReport(
            ready=state.ready,
            waiting_for=state.waiting_for,
            metrics=render(self._metrics.registry).decode(),
        )

    async def _watch_engines(self) -> None:
        while True:
            await self._engines.check()
            if self._engines.hold_message and not self._resources.hold_message:
                self._resources = dataclasses.replace(
                    self._resources, hold_message=self._engines.hold_message
                )
            self._note_changes(self.state())
            self._log_refusals()
            await asyncio.sleep(ENGINE_CHECK_SECONDS)

    def _note_changes(self, state: GatewayState) -> None:
        """Publish the state, and record what an operator has changed."""
        drain_changed, closed_changed = self._metrics.set_state(
            state.ready, state.draining, state.closed
        )
        if drain_changed:
            log.info("drain begun" if state.draining else "drain undone", sessions=state.sessions)
            if not self._stopping.is_set():
                self._audit.drain_changed(state.draining)
        if closed_changed:
            log.info("closed" if state.closed else "opened", sessions=state.sessions)
            self._audit.closed_changed(state.closed)

    async def _watch_tokens(self) -> None:
        """Read changes of the token store, and end the calls of tokens that are gone."""
        while True:
            changes = await self._gatekeeper.reload()
            self._audit.tokens_changed(changes.created, changes.revoked, changes.expired)
            self._metrics.tokens.set(self._gatekeeper.count())
            self._metrics.token_store_failing.set(self._gatekeeper.failing)
            for weakness, present in self._gatekeeper.weaknesses.items():
                self._metrics.token_weak.labels(weakness).set(present)
            self._calls.end_those_without_a_token(self._gatekeeper.current)
            await asyncio.sleep(TOKEN_CHECK_SECONDS)

    async def _summarize_refusals(self) -> None:
        while True:
            await asyncio.sleep(REFUSAL_SECONDS)
            self._audit.summarize_refusals()

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
        log.info("draining", sessions=len(self._calls))
        self._audit.stopping("failure" if self._failure else "signal", len(self._calls))
        for seconds in (self._settings.gateway.drain_seconds, CLOSE_SECONDS):
            await self._calls.wait_for_none(seconds)
            self._calls.end_all(ShuttingDown())
