"""Which calls are admitted, and how one runs: login, tickets, admission, refusals.

`Admission` decides. This module asks it about each request, tells metrics and audit log what was
decided, and runs the session of an admitted call.
"""

from __future__ import annotations

import dataclasses
import time
import uuid

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from appliance import journal, run_folder
from appliance.access.credentials import Credential
from appliance.errors import (
    ExpiredToken,
    Full,
    Refused,
    TokenFull,
    WrongOrigin,
    WrongToken,
)
from appliance.gateway.audit_log import AuditLog
from appliance.gateway.calls import Calls
from appliance.gateway.engine_watch import EngineWatch
from appliance.gateway.http.acceptance_pass import AcceptancePass
from appliance.gateway.http.admission import Admission, ConnectionAttempt, GatewayState
from appliance.gateway.http.gatekeeper import Gatekeeper, accepted_subprotocol
from appliance.gateway.http.refusal_log import RefusalLog
from appliance.gateway.realtime.serializer import RealtimeRequest
from appliance.gateway.session import Session
from appliance.gateway.session_resources import SessionResources
from appliance.gateway.session_socket import SessionSocket
from appliance.gateway.websocket import VIOLATION_HOOK

log = journal.get()


class CallControl:
    """What the endpoints need of the gateway, and its open calls.

    resources  what all sessions share, without the hold message, which `engines` has
    stopping   whether the process admits no more calls because it stops
    """

    def __init__(
        self,
        resources: SessionResources,
        gatekeeper: Gatekeeper,
        engines: EngineWatch,
        acceptance: AcceptancePass,
        audit: AuditLog,
    ) -> None:
        self._resources = resources
        self._settings = resources.settings
        self._gatekeeper = gatekeeper
        self._engines = engines
        self._acceptance = acceptance
        self._audit = audit
        self._admission = Admission(resources.settings.gateway)
        self._refusals = RefusalLog()
        self.calls = Calls()
        self.stopping = False

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
        resources = dataclasses.replace(self._resources, hold_message=self._engines.hold_message)
        session = Session(name, client, resources, realtime)
        websocket.scope["extensions"][VIOLATION_HOOK].report = session.end
        # There is no await between the decision and this line, so two clients cannot both get the
        # last free slot, or use the same ticket.
        self.calls.add(session, caller)
        started_at, outcome = time.monotonic(), "internal"
        self._audit.call_started(name, caller.name)
        try:
            await client.accept(accepted_subprotocol(websocket) if realtime else None)
            ending = await session.run()
            outcome = ending.reason if ending else "left"
        finally:
            self._audit.call_ended(name, caller.name, outcome, time.monotonic() - started_at)
            self.calls.remove(session)
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
        quietest = self.calls.quietest(now, caller)
        if quietest is None or quietest[1] < self._settings.gateway.yield_seconds:
            return refusal
        if make_room:
            self.calls.give_way(*quietest)
        return None

    def state(self) -> GatewayState:
        """Return the current load and readiness."""
        run = self._settings.paths.run
        draining = self.stopping or run_folder.draining_since(run) is not None
        by_token = self.calls.by_token()
        return GatewayState(
            by_token.total(),
            self._engines.waiting_for,
            draining,
            run_folder.closed_since(run) is not None,
            by_token,
            self.calls.seconds_by_token(),
        )

    def unknown_path(self, address: str) -> Refused:
        """Return how to refuse a request for a path that does not exist."""
        return self._admission.unknown_path(address, time.monotonic())

    def refused(self, refusal: Refused) -> None:
        """Count and log a refusal."""
        self._resources.metrics.sessions_rejected.labels(refusal.reason).inc()
        self._audit.refused(refusal.reason)
        if self._refusals.note(refusal.reason, time.monotonic()):
            log.info("refused", reason=refusal.reason, http_status=refusal.http_status)

    def log_refusals(self) -> None:
        """Log how many refusals of the last interval were not logged one by one."""
        for reason, refusals in self._refusals.summary(time.monotonic()).items():
            log.info("refused more", reason=reason, refusals=refusals)

    def _note_expired(self, attempt: ConnectionAttempt, refusal: Refused | None) -> None:
        """Record who presented an expired token, a ticket or a cookie of one."""
        if isinstance(refusal, ExpiredToken) and attempt.caller is not None:
            self._audit.expired_token_used(attempt.caller.name)
