"""The page's files on a server of their own, for what needs no gateway."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from appliance.gateway.http.page import Page


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Serve the page, as the gateway does, in a thread. Yields its address."""
    page = Page()
    app = Starlette(routes=[Route(path, page.get) for path in page.paths])
    # log_config=None: the gateways of other tests configure the log of this process.
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://localhost:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()
