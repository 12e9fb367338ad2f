"""The container engine's health check: requests /readyz from the gateway on this machine."""

from __future__ import annotations

import http.client
import json
import ssl
from http import HTTPStatus

from appliance import local_http
from appliance.settings import GatewayConfig

READYZ_SECONDS = 5.0  # time limit of the request
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def waiting_for(gateway: GatewayConfig) -> str:
    """Return what the gateway waits for before it accepts calls; empty if it accepts calls.

    "gateway" if it does not answer, "draining" if it is refusing new calls. A closed appliance
    waits for nothing but its operator: it counts as ready.
    """
    # The certificate is for the name that callers use, not for the loopback address.
    context = ssl._create_unverified_context() if gateway.uses_tls else None
    try:
        status, body = local_http.get(url(gateway), READYZ_SECONDS, context)
        if status == HTTPStatus.OK:
            return ""
        page = json.loads(body)
        if page.get("closed") and not page.get("draining"):
            return str(page.get("waiting_for", ""))
        return str(page.get("waiting_for") or "draining")
    except (OSError, http.client.HTTPException, ValueError, AttributeError, RecursionError):
        return "gateway"  # no answer, or uvicorn's plain text when it is overloaded


def url(gateway: GatewayConfig) -> str:
    """Return the URL at which this machine reaches /readyz."""
    scheme = "https" if gateway.uses_tls else "http"
    return f"{scheme}://{url_host(gateway.host)}:{gateway.port}/readyz"


def local_address(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on `host`."""
    return _LOOPBACK.get(host, host)


def url_host(host: str) -> str:
    """`local_address`, with an IPv6 address in brackets for use in a URL."""
    address = local_address(host)
    return f"[{address}]" if ":" in address else address
