"""The HTTP application of the gateway: calls, login and tickets, the page, and probes.

/healthz  the process answers
/readyz   the appliance is ready: engines, drain, closed
/room     a call would be let in now; for load balancers, which ask several times a second
"""

from __future__ import annotations

import json
from typing import Protocol
from urllib.parse import parse_qs

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from appliance.access.presented import COOKIE_NAME, own_origin
from appliance.errors import NoClientCertificate, Refused, UnknownPath, WrongOrigin
from appliance.gateway.http.admission import GatewayState
from appliance.gateway.http.gatekeeper import REALTIME
from appliance.gateway.http.page import Page
from appliance.gateway.realtime.serializer import RealtimeRequest
from appliance.tls.serving import ServerCertificate
from appliance.web.server import CLIENT_CERTIFICATE, small_length

ENDPOINTS = {
    "/ws": "websocket",
    REALTIME: "websocket",
    "/healthz": "http",
    "/readyz": "http",
    "/room": "http",
    "/login": "http",
    "/logout": "http",
    "/start": "http",
    "/ca.pem": "http",
}
FOR_EVERYONE = ("/healthz", "/readyz", "/room", "/ca.pem")  # also without a client certificate
PREFLIGHT_SECONDS = 600  # how long a browser may remember what other origins may send
NO_STORE = {"Cache-Control": "no-store"}
FORM = "application/x-www-form-urlencoded"
HOST_HEADER = b"voice-host"
ANSWERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class Gateway(Protocol):
    """What the endpoints need of the gateway."""

    def state(self) -> GatewayState:
        """Return the current load and readiness."""

    def no_room(self) -> Refused | None:
        """Return why no call would be let in now, or None."""

    def unknown_path(self, address: str) -> Refused:
        """Return how to refuse a request for a path that does not exist."""

    def refused(self, refusal: Refused) -> None:
        """Count and log a refusal."""

    async def call(
        self, websocket: WebSocket, realtime: RealtimeRequest | None = None
    ) -> Refused | None:
        """Run a call to its end. Return why it is refused instead, or None."""

    async def login(self, request: HTTPConnection, token: str | None) -> tuple[str, int] | Refused:
        """Return a cookie and for how many seconds it is valid, or why the login is refused."""

    async def start(self, request: HTTPConnection) -> str | Refused:
        """Return a ticket, or why none is given."""

    def trusts(self, origin: str, own_origin: str) -> bool:
        """Whether pages of this web origin may call."""


class Endpoints:
    """ASGI application. Paths that do not exist are refused, and count as attempts.

    certificate  the gateway's; it knows whether callers need one, too
    page         the page to talk from, if it is served
    host_name    sent with every answer in HOST_HEADER, unless it is empty
    realtime     whether OpenAI's Realtime protocol is served
    """

    def __init__(
        self,
        gateway: Gateway,
        certificate: ServerCertificate,
        page: Page | None = None,
        host_name: str = "",
        *,
        realtime: bool = False,
    ) -> None:
        self._gateway = gateway
        self._host_name = host_name.encode("ascii")
        self._certificate = certificate
        self._routes = routes(gateway)
        self._routes.add_route("/ca.pem", self._authority)
        self._paths = dict(ENDPOINTS)
        if not realtime:
            del self._paths[REALTIME]
        if page is not None:
            for path in page.paths:
                self._routes.add_route(path, page.get)
                self._paths[path] = "http"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._host_name:
            send = _with_header(send, HOST_HEADER, self._host_name)
        known = self._paths.get(scope["path"]) == scope["type"]
        if known and self._is_certified(scope):
            if scope["type"] == "websocket":
                await self._call(WebSocket(scope, receive, send))
            else:
                await self._routes(scope, receive, send)
            return
        address = scope["client"][0] if scope["client"] else ""
        refusal = self._gateway.unknown_path(address)
        if known and isinstance(refusal, UnknownPath):
            refusal = NoClientCertificate()
        if scope["type"] == "websocket":
            await self._deny(WebSocket(scope, receive, send), refusal)
        else:
            self._gateway.refused(refusal)
            await denial(refusal)(scope, receive, send)

    def _is_certified(self, scope: Scope) -> bool:
        """Whether the client has the certificate that its request needs."""
        return bool(
            not self._certificate.wants_client_certificate
            or scope["path"] in FOR_EVERYONE
            or scope["extensions"][CLIENT_CERTIFICATE]
        )

    async def _call(self, websocket: WebSocket) -> None:
        """Run a call. FastAPI has no part in it: it takes longer than a refusal itself."""
        request = None
        if websocket.scope["path"] == REALTIME:
            request = RealtimeRequest.of(
                websocket.query_params.get("model", ""), websocket.headers.get("openai-beta", "")
            )
        refusal = await self._gateway.call(websocket, request)
        if refusal is not None:
            await self._deny(websocket, refusal)

    def _authority(self, _request: Request) -> Response:
        """Return the certificate of the authority that issued the gateway's."""
        if not self._certificate.authority:
            return Response(status_code=404)
        return Response(self._certificate.authority, media_type="application/x-pem-file")

    async def _deny(self, websocket: WebSocket, refusal: Refused) -> None:
        self._gateway.refused(refusal)
        await websocket.send_denial_response(denial(refusal))


def routes(gateway: Gateway) -> FastAPI:
    """Return the routes of HTTP requests."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_probes(app, gateway)
    _add_login(app, gateway)
    _add_start(app, gateway)
    return app


def _add_probes(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"alive": True})

    @app.get("/readyz")
    async def readyz() -> Response:
        state = gateway.state()
        body = {
            "ready": state.ready,
            "waiting_for": state.waiting_for,
            "draining": state.draining,
            "closed": state.closed,
        }
        return JSONResponse(body, status_code=200 if state.ready else 503)

    @app.get("/room")
    async def room() -> Response:
        refusal = gateway.no_room()
        if refusal is None:
            return JSONResponse({"room": True}, headers=NO_STORE)
        body = {"room": False, "reason": refusal.reason, "message": str(refusal)}
        return JSONResponse(body, status_code=404, headers=NO_STORE)


def _add_login(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/login")
    async def login(request: Request) -> Response:
        granted = await gateway.login(request, await _token_in_body(request))
        if isinstance(granted, Refused):
            return _refuse(gateway, granted)
        value, seconds = granted
        response = JSONResponse({"expires_seconds": seconds}, headers=NO_STORE)
        _set_cookie(response, value, seconds)
        return response

    @app.post("/logout")
    async def logout(request: Request) -> Response:
        if _origin(request) not in ("", _own_origin(request)):
            return _refuse(gateway, WrongOrigin())
        response = Response(status_code=204, headers=NO_STORE)
        _set_cookie(response, "", 0)
        return response


def _add_start(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/start")
    async def start(request: Request) -> Response:
        granted = await gateway.start(request)
        if isinstance(granted, Refused):
            response = _refuse(gateway, granted)
        else:
            body = {"wsUrl": _websocket_url(request), "token": granted}
            response = JSONResponse(body, headers=NO_STORE)
        response.headers.update(_cors_headers(gateway, request))
        return response

    @app.options("/start")
    async def preflight(request: Request) -> Response:
        headers = _cors_headers(gateway, request)
        if not headers:
            return _refuse(gateway, WrongOrigin())
        headers["Access-Control-Allow-Methods"] = "POST"
        headers["Access-Control-Allow-Headers"] = "authorization, content-type"
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return Response(status_code=204, headers=headers)


def _refuse(gateway: Gateway, refusal: Refused) -> Response:
    gateway.refused(refusal)
    return denial(refusal)


def denial(refusal: Refused) -> Response:
    """Return the response to a client that is refused."""
    headers = {}
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    if refusal.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {
        "reason": refusal.reason,
        "message": str(refusal),
        "advice": refusal.advice,
        # What Pipecat's JavaScript SDK shows of an answer to `startBot`.
        "info": f"{refusal} {refusal.advice}",
    }
    return JSONResponse(body, status_code=refusal.http_status, headers=headers)


def _with_header(send: Send, name: bytes, value: bytes) -> Send:
    """Return a `send` that adds a header to the answer, also to an upgrade and to a refusal."""

    async def send_with_header(message: Message) -> None:
        if message["type"] in ANSWERS:
            message = {**message, "headers": [*message.get("headers", ()), (name, value)]}
        await send(message)

    return send_with_header


async def _token_in_body(request: Request) -> str | None:
    """Return the field `token` of a JSON object or a form. None: there is none.

    The web server reads only bodies that have a length of at most MAX_READ_BODY_BYTES.
    """
    if not small_length(request.headers.raw):
        return None
    try:
        body = await request.body()
    except ClientDisconnect:  # also if the body took too long
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            fields = json.loads(body)
            token = fields.get("token") if isinstance(fields, dict) else None
            return token if isinstance(token, str) else None
        if kind == FORM:
            values = parse_qs(body.decode("ascii"), max_num_fields=10).get("token", [])
            return values[0] if len(values) == 1 else None
    except (ValueError, RecursionError):
        return None
    return None


def _set_cookie(response: Response, value: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE_NAME, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict"
    )


def _cors_headers(gateway: Gateway, request: Request) -> dict[str, str]:
    """Return the headers that let a listed page read the answer; none for other pages."""
    origin = _origin(request)
    if not origin or not gateway.trusts(origin, _own_origin(request)):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def _origin(request: HTTPConnection) -> str:
    return ", ".join(request.headers.getlist("origin"))


def _own_origin(request: HTTPConnection) -> str:
    return own_origin(request.url.scheme, request.headers.getlist("host"))


def _websocket_url(request: Request) -> str:
    """Return the address of /ws on the host that the request was sent to."""
    return f"{_own_origin(request).replace('http', 'ws', 1)}/ws"
