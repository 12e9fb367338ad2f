"""The health check, against an HTTP server that stands in for the gateway."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from appliance import offline
from appliance.settings import GatewayConfig
from appliance.supervision.health import url, waiting_for


class Readyz(BaseHTTPRequestHandler):
    status, body = 200, ""

    def do_GET(self) -> None:
        assert self.path == "/readyz"
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[GatewayConfig]:
    with HTTPServer(("127.0.0.1", 0), Readyz) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield GatewayConfig(host="0.0.0.0", port=server.server_port)
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "reported", "expected"),
    [(200, "", ""), (503, "tts", "tts"), (503, "", "draining")],
)
def test_health_check_returns_the_engines_that_the_gateway_waits_for(
    gateway: GatewayConfig,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    reported: str,
    expected: str,
) -> None:
    monkeypatch.setattr(Readyz, "status", status)
    monkeypatch.setattr(Readyz, "body", json.dumps({"waiting_for": reported}))
    assert waiting_for(gateway) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"waiting_for": "", "draining": False, "closed": True}, ""),
        ({"waiting_for": "tts", "draining": False, "closed": True}, "tts"),
        ({"waiting_for": "", "draining": True, "closed": True}, "draining"),
    ],
)
def test_closed_appliance_is_healthy_when_its_engines_are_ready(
    gateway: GatewayConfig,
    monkeypatch: pytest.MonkeyPatch,
    page: dict[str, object],
    expected: str,
) -> None:
    monkeypatch.setattr(Readyz, "status", 503)
    monkeypatch.setattr(Readyz, "body", json.dumps(page))
    assert waiting_for(gateway) == expected


def test_offline_switches_bypass_the_hosts_proxy(
    gateway: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request._opener", None)  # as in a new process
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert waiting_for(gateway) == "gateway"
    for name, value in offline.SWITCHES.items():
        monkeypatch.setenv(name, value)
    assert waiting_for(gateway) == ""


def test_overloaded_gateway_counts_as_not_responding(
    gateway: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readyz, "status", 503)
    monkeypatch.setattr(Readyz, "body", "Service Unavailable")  # uvicorn's limit_concurrency
    assert waiting_for(gateway) == "gateway"


def test_gateway_without_a_reply_is_reported_as_waiting_for_gateway() -> None:
    assert waiting_for(GatewayConfig(port=1)) == "gateway"


def test_url_uses_the_loopback_address_and_tls_as_configured() -> None:
    with_tls = GatewayConfig(host="::", port=9, tls_certificate="c.pem", tls_key="k.pem")
    assert url(with_tls) == "https://[::1]:9/readyz"
    assert url(GatewayConfig(host="192.0.2.7", port=9)) == "http://192.0.2.7:9/readyz"
