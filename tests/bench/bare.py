"""A gateway without TLS, tokens and limits, to measure what these cost.

`python -m tests.bench.bare` takes the settings of the gateway, whose code it runs except for:
the HTTP and WebSocket protocols with their bounds, which are uvicorn's here; the check of tokens;
admission; and the pace of audio. The process is confined, as the gateway is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in appliance/commands/processes.py

import uvicorn
from starlette.requests import HTTPConnection
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from appliance import __main__ as program
from appliance.gateway import call_control, server, wire
from appliance.gateway.http import listener
from appliance.gateway.http.admission import Admission, ConnectionAttempt, GatewayState
from appliance.gateway.http.gatekeeper import Gatekeeper
from appliance.gateway.websocket import VIOLATION_HOOK, ViolationHook


class OpenGatekeeper(Gatekeeper):
    """Takes everybody for a caller with the shared token."""

    async def attempt(self, request: HTTPConnection) -> ConnectionAttempt:
        return ConnectionAttempt("", caller=next(iter(self._verifier.credentials)))


class OpenAdmission(Admission):
    """Refuses nobody."""

    def refusal(
        self, attempt: ConnectionAttempt, state: GatewayState, now: float, unix_time: float
    ) -> None:
        return None


class AnyPace:
    """Passes on all audio as it arrives."""

    def __init__(self, ratio: float, burst_seconds: float) -> None:
        pass

    def receive(self, pcm: bytes, now: float) -> bytes:
        return pcm


class UnboundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with the hook that a call expects."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        extensions: Any = self.scope["extensions"]
        extensions[VIOLATION_HOOK] = ViolationHook()


class UnboundedServer(uvicorn.Server):
    """uvicorn without its signal handlers."""

    def __init__(self, config: uvicorn.Config, *, signals: bool) -> None:
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)


def take_everything_away() -> None:
    """Replace what TLS, tokens and limits consist of in this process."""
    replacements: dict[Any, dict[str, Any]] = {
        server: {
            "Gatekeeper": OpenGatekeeper,
            "WebServer": UnboundedServer,
        },
        call_control: {"Admission": OpenAdmission},
        listener: {"BoundedWebSocket": UnboundedWebSocket},
        wire: {"InputPace": AnyPace},
    }
    for module, names in replacements.items():
        for name, replacement in names.items():
            assert hasattr(module, name), name
            setattr(module, name, replacement)


if __name__ == "__main__":
    take_everything_away()
    sys.exit(program.main(["gateway"], os.environ))
