"""The appliance under test: where it is, how to reach it, and what the checks have collected."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

from appliance.acceptance.caller import ApplianceVoice, CallTally, CallTarget, open_call
from appliance.acceptance.limits import AcceptanceLimits
from appliance.acceptance.options import AcceptanceOptions
from appliance.acceptance.report import SpokenTurn
from appliance.errors import BadSetting
from appliance.settings import GatewayConfig, Settings
from appliance.supervision import health
from client.conversation import Conversation

# The exporter waits for silent processes, each up to `exporter.timeout_seconds`.
PAGE_SECONDS = 20.0


@dataclass(slots=True)
class Site:
    """One appliance under test, and what the checks collect for each other and for the report.

    stops   for each interruption, seconds until silence at the caller
    """

    settings: Settings
    target: CallTarget
    limits: AcceptanceLimits
    options: AcceptanceOptions
    voice: ApplianceVoice
    tally: CallTally = field(default_factory=CallTally)
    turns: list[SpokenTurn] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)

    def call(self) -> AbstractAsyncContextManager[Conversation]:
        """Open a call, after the greeting if there is one. Raises ClientError."""
        return open_call(self.target, self.tally, greeting=bool(self.settings.llm.greeting))

    async def readyz(self) -> tuple[int, str]:
        """Return status and text of /readyz. Raises OSError if there is no answer."""
        parts = urlsplit(self.target.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        url = urlunsplit((scheme, parts.netloc, "/readyz", "", ""))
        return await asyncio.to_thread(_get, url, self.target.tls())

    async def scrape(self) -> str:
        """Return the exporter's metrics page. Raises OSError."""
        exporter = self.settings.exporter
        url = f"http://{_local_host(exporter.host)}:{exporter.port}/metrics"
        status, text = await asyncio.to_thread(_get, url, None)
        if status != 200:
            raise OSError(f"/metrics answered {status}")
        return text

    async def own_endpoints(self) -> set[tuple[str, int]]:
        """Return the addresses and port through which the test itself calls. Raises OSError."""
        parts = urlsplit(self.target.url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        addresses = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        )
        return {(str(address[0]), port) for *_, address in addresses}


def call_target(gateway: GatewayConfig, url: str = "") -> CallTarget:
    """Return how to call the appliance with these settings; at `url`, if not empty.

    Raises BadSetting if the token cannot be read.
    """
    try:
        token = Path(gateway.token_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadSetting(name="gateway.token_file", why=str(problem)) from problem
    scheme = "wss" if gateway.tls_certificate else "ws"
    url = url or f"{scheme}://{_local_host(gateway.host)}:{gateway.port}/ws"
    return CallTarget(url=url, token=token, certificate=gateway.tls_certificate)


def _local_host(host: str) -> str:
    """Return the host of a URL for a listening address."""
    return health.url_host(host)


def _get(url: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PAGE_SECONDS, context=context) as page:
            return int(page.status), page.read().decode()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode(errors="replace")
    except HTTPException as problem:
        raise OSError(f"incomplete HTTP response from {url}: {problem!r}") from problem
