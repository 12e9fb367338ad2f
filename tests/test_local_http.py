"""Answers of a process that was taken over, to those that are not confined."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from appliance import local_http
from appliance.console.collect import fetch_metrics
from appliance.settings import ExporterConfig, GatewayConfig
from appliance.supervision.health import waiting_for


class Taken(BaseHTTPRequestHandler):
    """Answers as the class attributes say, and keeps the paths that it was asked for."""

    status = 200
    headers_sent: ClassVar[dict[str, str]] = {}
    body = b""
    repeat = 1
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        for _ in range(self.repeat):
            try:
                self.wfile.write(self.body)
            except ConnectionError:
                return

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(Taken, "paths", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Taken) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(port: int, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Otherwise a confined process could make another one connect anywhere."""
    monkeypatch.setattr(Taken, "status", status)
    monkeypatch.setattr(Taken, "headers_sent", {"Location": f"http://127.0.0.1:{port}/elsewhere"})
    assert waiting_for(GatewayConfig(port=port)) == "gateway"
    with pytest.raises(HTTPException, match=str(status)):
        fetch_metrics(ExporterConfig(port=port))
    assert Taken.paths == ["/readyz", "/metrics"]


def test_answer_that_is_too_large_is_not_read(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taken, "body", b"x" * (1 << 20))
    monkeypatch.setattr(Taken, "repeat", 64)
    monkeypatch.setattr(Taken, "status", 503)
    with pytest.raises(HTTPException, match="too large"):
        local_http.get(f"http://127.0.0.1:{port}/", 30)
    assert waiting_for(GatewayConfig(port=port)) == "gateway"


def test_nested_answer_is_no_answer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taken, "body", b"[" * 100_000)
    monkeypatch.setattr(Taken, "status", 503)
    assert waiting_for(GatewayConfig(port=port)) == "gateway"
