"""A gateway with instant engines, and a page of another origin with the JavaScript SDK."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator

import pytest

from tests.gateway.espeak import speak
from tests.gateway.running_gateway import make_gateway, turn_models
from tests.stock.node import FOLDER, bundle

__all__ = ["make_gateway", "speak", "turn_models"]

HTML = '<!doctype html><title>SDK</title><script type="module" src="sdk.js"></script>'


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, without a log."""

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="session")
def sdk_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a developer's page, on a server of its own."""
    folder = tmp_path_factory.mktemp("sdk")
    bundle(FOLDER / "sdk.js", folder / "sdk.js")
    (folder / "index.html").write_text(HTML)
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
