"""The section [gateway]: what clients connect to, who may call, and the limits of a session."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.types import (
    DAY_SECONDS,
    SECTION,
    WEEK_SECONDS,
    Bytes,
    HeaderText,
    Host,
    Networks,
    Origins,
    Port,
    Seconds,
    Unit,
    require,
)


@dataclass(frozen=True, slots=True, config=SECTION)
class GatewayConfig:
    """What clients connect to, and the limits of a session."""

    host: Host = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=8765, description="TCP port that clients connect to")
    token_file: str = Field(
        default="",
        description="file with one access token for all clients; needed if there is no token_store",
    )
    token_store: str = Field(
        default="",
        description="file with named access tokens, which `voicectl token` writes; changes need no "
        "restart",
    )
    login_seconds: Seconds = Field(
        default=43200.0,
        ge=60,
        le=WEEK_SECONDS,
        description="how long a browser that logged in stays logged in",
    )
    tls_certificate: str = Field(
        default="",
        description="PEM file with the certificate chain; with tls_key, clients use wss://",
    )
    tls_key: str = Field(default="", description="PEM file with the private key of tls_certificate")
    tls_client_ca: str = Field(
        default="",
        description="PEM file with an authority; callers then need a certificate that it issued",
    )
    plain_network: bool = Field(
        default=False,
        description="whether calls are not encrypted, although they cross a network; for a proxy "
        "that terminates TLS",
    )
    allowed_origins: Origins = Field(
        default=(),
        description="web origins whose pages may connect; programs that send no origin always may",
    )
    max_sessions: Annotated[int, Unit("sessions")] = Field(
        default=4,
        ge=1,
        le=1000,
        description="sessions at the same time; further clients are refused",
    )
    max_sessions_per_token: Annotated[int, Unit("sessions")] = Field(
        default=1000,
        ge=1,
        le=1000,
        description="sessions at the same time with one access token, at most; a named token "
        "without a limit of its own also leaves one of max_sessions to others",
    )
    yield_seconds: Seconds = Field(
        default=45.0,
        gt=0,
        le=DAY_SECONDS,
        description="silence after which a session ends if all are taken and another client waits",
    )
    idle_seconds: Seconds = Field(
        default=120.0,
        gt=0,
        le=DAY_SECONDS,
        description="a session without speech ends after this long",
    )
    session_seconds: Seconds = Field(
        default=3600.0, gt=0, le=WEEK_SECONDS, description="longest duration of a session"
    )
    drain_seconds: Seconds = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="how long sessions may continue after a stop signal",
    )
    ping_seconds: Seconds = Field(
        default=5.0,
        ge=1,
        le=25,
        description="time between two pings to a client, and to answer one: a client that has "
        "vanished gives up its place after at most twice as long",
    )
    max_frame_bytes: Bytes = Field(
        default=16384, ge=1024, le=1_048_576, description="largest message that a client may send"
    )
    lead_seconds: Seconds = Field(
        default=0.4,
        ge=0,
        le=600,
        description="how far reply audio is sent ahead of playback; hides jitter",
    )
    pace_ratio: float = Field(
        default=1.5,
        ge=1,
        le=100,
        description="how fast audio may arrive over a length of time, as a multiple of real time",
    )
    pace_burst_seconds: Seconds = Field(
        default=2.0,
        gt=0,
        le=60,
        description="audio that may arrive at once, after a stall; older audio is dropped",
    )
    max_attempts_per_minute: Annotated[int, Unit("attempts")] = Field(
        default=120,
        ge=1,
        le=1_000_000,
        description="connection attempts per minute from one address: those with the right token, "
        "and the others, each; with one token from all addresses, ten times as many",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="proxies whose headers X-Forwarded-For and X-Forwarded-Proto name the client "
        "and its scheme; of others they are ignored",
    )
    host_name: HeaderText = Field(
        default="",
        description="name of this host, sent with every answer in the header Voice-Host; if empty, "
        "the header is not sent",
    )
    start_closed: bool = Field(
        default=False,
        description="refuse callers after each start, except the acceptance test, until "
        "`voicectl open`",
    )
    start_closed_file: str = Field(
        default="",
        description="a start is closed, as with start_closed, while this file exists; `voicectl "
        "activate` makes and removes it",
    )
    page: bool = Field(default=True, description="serve the page to talk from, at /")
    realtime: bool = Field(
        default=True, description="serve clients of OpenAI's Realtime API, at /v1/realtime"
    )
    realtime_client_settings: bool = Field(
        default=False,
        description="whether a Realtime client may replace llm.system_prompt and tts.voice, and "
        "bring tools of its own",
    )

    @property
    def uses_tls(self) -> bool:
        """Whether the gateway has a certificate and uses it."""
        return bool(self.tls_certificate) and not self.plain_network

    @validator(mode="after")
    def _check(self) -> Self:
        return require(
            self,
            tls_key=(
                bool(self.tls_key) or not self.tls_certificate,
                "it is empty, but tls_certificate is set: TLS needs both",
            ),
            tls_certificate=(
                bool(self.tls_certificate) or not self.tls_key,
                "it is empty, but tls_key is set: TLS needs both",
            ),
            tls_client_ca=(
                not self.tls_client_ca or self.uses_tls,
                "client certificates need TLS: set tls_certificate, and not plain_network",
            ),
        )
