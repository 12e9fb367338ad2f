"""Shared state of one test run: the appliance under test, and what the checks collect."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from appliance import local_http
from appliance.acceptance.caller import (
    RETRY_SECONDS,
    ApplianceEar,
    CallTally,
    CallTarget,
    open_call,
)
from appliance.acceptance.limits import AcceptanceLimits
from appliance.acceptance.options import AcceptanceOptions
from appliance.acceptance.report import SpokenTurn
from appliance.acceptance.voices import EspeakVoices, Recording
from appliance.errors import BadSetting
from appliance.settings import GatewayConfig, Settings
from appliance.supervision import health
from appliance.tls.folder import ACCEPTANCE_CLIENT
from client.conversation import Conversation

# The exporter waits up to `exporter.timeout_seconds` for each unresponsive process.
HTTP_TIMEOUT_SECONDS = 20.0


@dataclass(slots=True)
class AcceptanceContext:
    """The appliance under test, and what the checks collect for the report and for later checks.

    ear                     transcribes the audio of the answers
    voices                  speak the questions
    recordings              sentences of people, which the site has added
    tally                   counts what the test caller did
    turns                   the questions of the conversation and their answers
    barge_in_stop_seconds   for each interruption, seconds until silence at the caller
    """

    settings: Settings
    target: CallTarget
    limits: AcceptanceLimits
    options: AcceptanceOptions
    ear: ApplianceEar
    voices: EspeakVoices = field(default_factory=EspeakVoices)
    recordings: Sequence[Recording] = ()
    tally: CallTally = field(default_factory=CallTally)
    turns: list[SpokenTurn] = field(default_factory=list)
    barge_in_stop_seconds: list[float] = field(default_factory=list)

    def call(
        self, retry_seconds: float = RETRY_SECONDS
    ) -> AbstractAsyncContextManager[Conversation]:
        """Open a call. If a greeting is set, wait for its end. Raises ClientError."""
        greeting = bool(self.settings.llm.greeting)
        return open_call(self.target, self.tally, greeting, retry_seconds)

    async def readyz(self) -> tuple[int, str]:
        """Return HTTP status and body of /readyz. Raises OSError if there is no response."""
        parts = urlsplit(self.target.url)
        scheme = "https" if parts.scheme == "wss" else "http"
        url = urlunsplit((scheme, parts.netloc, "/readyz", "", ""))
        return await asyncio.to_thread(_get, url, self.target.tls())

    async def scrape(self) -> str:
        """Return the exporter's metrics page. Raises OSError."""
        exporter = self.settings.exporter
        url = f"http://{health.url_host(exporter.host)}:{exporter.port}/metrics"
        status, text = await asyncio.to_thread(_get, url, None)
        if status != 200:
            raise OSError(f"/metrics returned {status}")
        return text

    async def own_endpoints(self) -> set[tuple[str, int]]:
        """Return the (address, port) pairs that the test's own calls use. Raises OSError."""
        parts = urlsplit(self.target.url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        addresses = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        )
        return {(str(address[0]), port) for *_, address in addresses}


def call_target(gateway: GatewayConfig, url: str = "", run: Path | None = None) -> CallTarget:
    """Return the CallTarget for these settings; `url`, if given, overrides the address.

    `run` is the run folder of the appliance. Without it, a closed appliance refuses the calls.

    Raises BadSetting if the token cannot be read.
    """
    try:
        token = Path(gateway.token_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(name="gateway.token_file", why=str(error)) from error
    scheme = "wss" if gateway.uses_tls else "ws"
    url = url or f"{scheme}://{health.url_host(gateway.host)}:{gateway.port}/ws"
    client = Path(gateway.tls_certificate).parent / ACCEPTANCE_CLIENT
    return CallTarget(
        url=url,
        token=token,
        certificate=gateway.tls_certificate,
        cert=str(client) if gateway.tls_client_ca else "",
        run=run,
    )


def _get(url: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    try:
        status, body = local_http.get(url, HTTP_TIMEOUT_SECONDS, context)
        return status, body.decode(errors="replace")
    except HTTPException as error:
        raise OSError(f"incomplete HTTP response from {url}: {error!r}") from error
