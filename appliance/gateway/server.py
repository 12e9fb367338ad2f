"""The gateway process: listen, watch engines and tokens, drain and stop.

call_control.py admits the calls and runs them.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Collection, Coroutine
from typing import Any

import uvloop

from appliance import journal, site_lexicon
from appliance.errors import ShuttingDown
from appliance.gateway.audit_log import REFUSAL_SECONDS, AuditLog
from appliance.gateway.call_control import CallControl
from appliance.gateway.engine_watch import EngineWatch
from appliance.gateway.generation.tools import select_tools
from appliance.gateway.http.acceptance_pass import AcceptancePass
from appliance.gateway.http.admission import GatewayState
from appliance.gateway.http.endpoints import Endpoints
from appliance.gateway.http.gatekeeper import Gatekeeper
from appliance.gateway.http.listener import listening_socket, uvicorn_config
from appliance.gateway.http.page import Page
from appliance.gateway.metrics import GatewayMetrics
from appliance.gateway.session_resources import SessionResources
from appliance.gateway.speech.unsplit_names import UnsplitNames
from appliance.gateway.turns.turn_models import TurnModels
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
    """The life cycle of the process: listen, watch, drain, stop."""

    def __init__(
        self, settings: Settings, gatekeeper: Gatekeeper, gaps: Collection[str] = ()
    ) -> None:
        """Load the models of turn taking. Raises BadSetting for an unknown tool."""
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._metrics = GatewayMetrics(settings.profile)
        self._metrics.sessions_max.set(settings.gateway.max_sessions)
        for gap in gaps:
            self._metrics.confinement_gap.labels(gap).set(1)
        journal.on_event(self._metrics.count_log_event)
        self._engines = EngineWatch(settings)
        self._acceptance = AcceptancePass()
        self._audit = AuditLog(settings, self._metrics)
        self.control = CallControl(
            _shared_resources(settings, self._metrics),
            gatekeeper,
            self._engines,
            self._acceptance,
            self._audit,
        )
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        If a background task fails, drain and raise its error: supervisord restarts the process.
        """
        settings = self._settings
        certificate = ServerCertificate(settings.gateway)
        config = uvicorn_config(settings.gateway, self._endpoints(certificate), certificate.context)

        def use_certificate() -> None:
            config.ssl = certificate.context  # of new connections
            self._metrics.tls_certificate_expiry.set(certificate.expires_at)
            self._metrics.tls_key_exposed.set(certificate.key_exposed)

        def certificate_changed() -> None:
            use_certificate()
            self._audit.certificate_loaded(certificate.sha256, certificate.client_ca_sha256)

        use_certificate()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        listener = listening_socket(settings.gateway)
        async with serve_link(socket_path(settings.paths.run, GATEWAY), self._report):
            # The socket of the link is ours, so no other gateway writes these files.
            self._audit.start()
            if certificate.context is not None:
                self._audit.certificate_loaded(certificate.sha256, certificate.client_ca_sha256)
            self._acceptance.write(settings.paths.run)
            background = self._start_watches(certificate.watch(certificate_changed))
            try:
                await self._serve(WebServer(config, signals=False), listener)
            finally:
                await cancel(*background)
                self._gatekeeper.close()
                self._audit.close()
        if self._failure is not None:
            raise self._failure
        log.info("gateway stopped")

    def _endpoints(self, certificate: ServerCertificate) -> Endpoints:
        gateway = self._settings.gateway
        return Endpoints(
            self.control,
            certificate,
            Page() if gateway.page else None,
            gateway.host_name,
            realtime=gateway.realtime,
        )

    async def _serve(self, server: WebServer, listener: socket.socket) -> None:
        """Serve HTTP and calls until the process is to stop, then drain."""
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
            await cancel(stopping)

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

    def _report(self) -> HealthReport:
        state = self.control.state()
        return HealthReport(
            ready=state.ready,
            waiting_for=state.waiting_for,
            metrics=render(self._metrics.registry).decode(),
        )

    async def _watch_engines(self) -> None:
        while True:
            await self._engines.check()
            self._note_changes(self.control.state())
            self.control.log_refusals()
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
            self.control.calls.end_those_without_a_token(self._gatekeeper.current)
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
        self.control.stopping = True
        calls = self.control.calls
        log.info("draining", sessions=len(calls))
        self._audit.stopping("failure" if self._failure else "signal", len(calls))
        for seconds in (self._settings.gateway.drain_seconds, CLOSE_SECONDS):
            await calls.wait_for_none(seconds)
            calls.end_all(ShuttingDown())


def _shared_resources(settings: Settings, metrics: GatewayMetrics) -> SessionResources:
    """Load what all sessions share. Raises BadSetting for an unknown tool."""
    lexicon, _ = site_lexicon.examine(settings.tts)  # the TTS engine refuses a wrong one
    return SessionResources(
        settings,
        metrics,
        TurnModels(settings.turn),
        select_tools(settings.llm.tools),
        names=UnsplitNames(lexicon.written()),
        voices=selectable_voices(settings) if settings.gateway.realtime_client_settings else (),
    )
