"""A gateway process as a site has it: over TLS, with named tokens, and with a voice that counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from tests.gateway.http.test_tokens import TokenFile
from tests.gateway.requests import Answer, send
from tests.gateway.running_gateway import TOKEN, free_port
from tests.gateway.simulated_client import TIMEOUT_SECONDS, SimulatedClient
from tests.tls.site import make_site

ROOT = Path(__file__).parents[3]
NAMES = ("ward-1", "ward-2", "thief", "stolen", "stolen-too")
Headers = dict[str, str]
RETRY_SECONDS = 0.1  # between two tries: without a pause, they would take the time of the gateway


@dataclass
class GatewayProcess:
    """A gateway in a process of its own.

    tokens  headers with named tokens, by name; "old" has expired
    tls     trusts the gateway's certificate
    """

    port: int
    process: psutil.Process
    log: Path
    tokens: dict[str, Headers]
    store: TokenFile
    tls: ssl.SSLContext

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def memory_bytes(self) -> int:
        return int(self.process.memory_info().rss)

    async def open(self, headers: Headers, path: str = "/ws", **more: Any) -> ClientConnection:
        """Connect. Raises InvalidStatus if the gateway refuses the client.

        On a busy machine, the check of an engine can be late, and the gateway not ready.
        """
        url = f"wss://{self.address}{path}"
        while True:
            try:
                return await connect(url, additional_headers=headers, ssl=self.tls, **more)
            except InvalidStatus as refused:
                if refused.response.status_code != 503:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def call(self, headers: Headers) -> SimulatedClient:
        client = SimulatedClient(await self.open(headers))
        await client.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await client.wait_until(lambda: client.messages("bot-ready"))
        return client

    async def statuses(self, *attempts: tuple[Headers, str], **more: Any) -> set[int]:
        """Try to call with headers and a path, one after the other. Return the HTTP statuses."""
        return {await self.status(headers, path, **more) for headers, path in attempts}

    async def status(self, headers: Headers, path: str = "/ws", **more: Any) -> int:
        """Try to call until there is an answer: an attack fills the places of this address, too."""
        while True:
            try:
                await (await self.open(headers, path, **more)).close()
                return 101
            except InvalidStatus as refused:
                return refused.response.status_code
            except (OSError, InvalidMessage, EOFError):
                await asyncio.sleep(RETRY_SECONDS)  # let go before its head was complete

    async def ask(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request until it is answered, for the same reason."""
        while True:
            with contextlib.suppress(OSError):
                return await send(self, method, path, headers, body, tls=self.tls)
            await asyncio.sleep(RETRY_SECONDS)

    async def ticket(self, name: str) -> str:
        while True:
            answer = await self.ask("POST", "/start", self.tokens[name])
            if answer.status != 503:  # as in `open`
                return str(answer.json["token"])
            await asyncio.sleep(RETRY_SECONDS)

    async def hash_tokens(self) -> None:
        """Use each token once: its first use takes 16 MiB for a moment, whoever uses it."""
        for headers in self.tokens.values():
            await self.ask("POST", "/start", headers)

    async def connection(
        self, *, encrypted: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self.tls if encrypted else None
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextlib.asynccontextmanager
async def gateway_process(folder: Path) -> AsyncIterator[GatewayProcess]:
    """Run a ready gateway and its engines, with their files in `folder`."""
    folder.mkdir()
    port, log, site = free_port(), folder / "log", make_site(folder)
    token = folder / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    store = TokenFile(folder)
    tokens = {name: store.create(name) for name in NAMES}
    tokens["old"] = store.create("old", expires_in=-1)
    settings = {
        "PATHS_RUN": str(folder),
        "GATEWAY_PORT": str(port),
        "GATEWAY_TOKEN_FILE": str(token),
        "GATEWAY_TOKEN_STORE": str(store.path),
        "GATEWAY_TLS_CERTIFICATE": str(site.chain),
        "GATEWAY_TLS_KEY": str(site.key),
        "GATEWAY_MAX_SESSIONS": "12",
        "GATEWAY_DRAIN_SECONDS": "0",
        "GATEWAY_IDLE_SECONDS": "3600",  # a call without speech waits for a slow machine
    }
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    environ |= {f"VOICE_{name}": value for name, value in settings.items()}
    commands = (["tests.fakes.witness", str(folder)], ["appliance", "gateway"])
    with log.open("wb") as output:
        started = [
            subprocess.Popen(  # noqa: ASYNC220 - it does not wait
                [sys.executable, "-m", *command], env=environ, stdout=output
            )
            for command in commands
        ]
    try:
        process = psutil.Process(started[1].pid)
        gateway = GatewayProcess(port, process, log, tokens, store, site.trust())
        async with asyncio.timeout(2 * TIMEOUT_SECONDS):
            while (await gateway.ask("GET", "/readyz")).status != 200:
                await asyncio.sleep(RETRY_SECONDS)
        yield gateway
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait(TIMEOUT_SECONDS)
