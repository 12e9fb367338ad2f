"""What is tested: where it is, what it was told to be, and what was done with it so far."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

from appliance.acceptance.caller import Door, Tally
from appliance.acceptance.limits import Limits
from appliance.acceptance.report import Sample
from appliance.acceptance.voice import Voice
from appliance.acceptance.wishes import Wishes
from appliance.errors import BadSetting
from appliance.settings import Gateway, Settings
from appliance.supervision import health

PAGE_SECONDS = 20.0  # the exporter waits for silent processes, each `exporter.timeout_seconds`


@dataclass(slots=True)
class Site:
    """One appliance under test, and what the checks leave for each other and for the report."""

    given: Settings
    door: Door
    limits: Limits
    wishes: Wishes
    voice: Voice
    tally: Tally = field(default_factory=Tally)
    turns: list[Sample] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)

    @property
    def greets(self) -> bool:
        """Whether the bot speaks first."""
        return bool(self.given.llm.greeting)

    async def ready_page(self) -> tuple[int, str]:
        """Status and text of /readyz. Raises OSError when nobody answers."""
        parts = urlsplit(self.door.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        url = urlunsplit((scheme, parts.netloc, "/readyz", "", ""))
        return await asyncio.to_thread(_get, url, self.door.tls())

    async def metrics(self) -> str:
        """The exporter's page. Raises OSError."""
        exporter = self.given.exporter
        url = f"http://{_host(exporter.host)}:{exporter.port}/metrics"
        status, text = await asyncio.to_thread(_get, url, None)
        if status != 200:
            raise OSError(f"/metrics answered {status}")
        return text

    async def way(self) -> set[tuple[str, int]]:
        """Addresses and port by which we call it ourselves."""
        parts = urlsplit(self.door.url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        )
        return {(str(address[0]), port) for *_, address in found}


def door(given: Gateway, url: str = "") -> Door:
    """How to call the appliance of these settings, at `url` if given. Raises BadSetting."""
    scheme = "wss" if given.tls_certificate else "ws"
    try:
        token = Path(given.token_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadSetting(name="gateway.token_file", why=str(problem)) from problem
    try:
        parts = urlsplit(url or f"{scheme}://{_host(given.host)}:{given.port}/ws")
        usable = parts.scheme in ("ws", "wss") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise BadSetting(name="the URL", why=f"{url!r} is not like wss://HOST:PORT/ws")
    where = urlunsplit(parts._replace(path=parts.path if len(parts.path) > 1 else "/ws"))
    return Door(url=where, token=token, certificate=given.tls_certificate)


def _host(host: str) -> str:
    host = health.HERE.get(host, host)
    return f"[{host}]" if ":" in host else host


def _get(url: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PAGE_SECONDS, context=context) as page:
            return int(page.status), page.read().decode()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode(errors="replace")
    except HTTPException as problem:
        raise OSError(f"no whole answer in HTTP from {url}: {problem!r}") from problem
