"""The socket that the gateway listens on, and the configuration of its web server."""

from __future__ import annotations

import socket
import ssl

import uvicorn
from starlette.types import ASGIApp

from appliance.errors import PortTaken
from appliance.gateway.websocket import BoundedWebSocket
from appliance.settings import GatewayConfig
from appliance.web.server import listen

MIN_MESSAGE_LIMIT_BYTES = 1 << 16


def uvicorn_config(
    gateway: GatewayConfig, app: ASGIApp, tls: ssl.SSLContext | None
) -> uvicorn.Config:
    """Return the web server's configuration. `tls` is None if calls are not encrypted."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        ws=BoundedWebSocket,
        # Above gateway.max_frame_bytes: wire.py refuses a large frame with a reason.
        ws_max_size=max(gateway.max_frame_bytes * 4, MIN_MESSAGE_LIMIT_BYTES),
        ws_per_message_deflate=False,
        ws_ping_interval=gateway.ping_seconds,
        ws_ping_timeout=gateway.ping_seconds,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=bool(gateway.trusted_proxies),
        forwarded_allow_ips=list(gateway.trusted_proxies),
        timeout_graceful_shutdown=5,
    )
    config.load()
    config.ssl = tls
    return config


def listening_socket(gateway: GatewayConfig) -> socket.socket:
    """Listen on the address of the settings. Raises PortTaken."""
    try:
        return listen(gateway.host, gateway.port)
    except OSError as problem:
        raise PortTaken(host=gateway.host, port=gateway.port) from problem
