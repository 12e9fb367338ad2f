"""Is the appliance ready for calls? For the container engine's health check, from inside."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request

from appliance.settings import GatewayConfig

ANSWER_SECONDS = 5.0
HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what listens everywhere is asked here


def waiting_for(gateway: GatewayConfig) -> str:
    """What calls have to wait for, as /readyz says; empty when they are taken."""
    # The certificate is made out to the name that callers use, which this is not.
    trusting = ssl._create_unverified_context() if gateway.tls_certificate else None
    try:
        try:
            with urllib.request.urlopen(url(gateway), timeout=ANSWER_SECONDS, context=trusting):
                return ""
        except urllib.error.HTTPError as refusal:
            return str(json.load(refusal).get("waiting_for") or "draining")
    except (OSError, http.client.HTTPException, ValueError):
        return "gateway"  # nothing, or uvicorn's own words: it is asked too much


def url(gateway: GatewayConfig) -> str:
    """Where the gateway answers this machine."""
    host = HERE.get(gateway.host, gateway.host)
    host = f"[{host}]" if ":" in host else host
    return f"http{'s' if gateway.tls_certificate else ''}://{host}:{gateway.port}/readyz"
