"""What is tested: where it is, what it was told to be, and what was done with it so far."""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import soxr

from appliance.acceptance.metrics import Made
from appliance.acceptance.report import Limits, Sample
from appliance.errors import BadSetting
from appliance.link.client import EngineClient
from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE, Utterance
from appliance.settings import GatewayConfig, Settings
from appliance.supervision import health
from client.call import Arrival, Call, connect
from client.config import Config
from client.conversation import Conversation
from client.errors import NoAnswer
from client.record import TurnRecord
from client.wav import to_pcm
from client.wire import Message

BUSY_SECONDS = 30.0  # how long a call is tried for when the house is full or has just restarted
ANSWER_SECONDS = 60.0  # an answer that is slow is judged by its time and not taken for none
GREETING_SECONDS = 30.0  # until the bot has said what it says first
UNTOLD = ("no_answer", "unfinished", "broke_off")  # the client's words for a turn without an end


@dataclass(frozen=True, slots=True)
class Door(Config):
    """Where to call. `certificate` is the appliance's own, where it is at hand."""

    certificate: str = ""

    def tls(self) -> ssl.SSLContext | None:
        """As for any caller; but a certificate at hand is the one that has to be shown, to whatever
        name it is made out, for callers know the appliance by another name than we do here."""
        if not (self.certificate and self.url.startswith("wss:")):
            return Config.tls(self)
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


class Overheard(Call):
    """A call that was set up, with what arrives in it noted."""

    def __init__(self, call: Call, tally: Tally) -> None:
        vars(self).update(vars(call))  # The same connection: whatever a call can do, this one can.
        self._tally = tally
        self.fell_silent = asyncio.Event()

    async def arrivals(self) -> AsyncIterator[Arrival]:
        async for arrival in super().arrivals():
            if isinstance(arrival.frame, Message):
                self._note(arrival.frame)
            yield arrival

    def _note(self, message: Message) -> None:
        if message.type == "bot-stopped-speaking":
            self.fell_silent.set()
        told = message.data
        if message.type == "server-message" and isinstance(told, dict):
            self._tally.told += told.get("kind") == "turn"


class Tally:
    """What we did so far, for comparison with the appliance's own counters."""

    def __init__(self) -> None:
        self.told = 0
        self._of: Counter[str] = Counter()

    def called(self) -> None:
        """A call was taken."""
        self._of["calls"] += 1

    def record(self, record: TurnRecord) -> None:
        """A turn is over."""
        self._of["untold"] += record.outcome in UNTOLD
        self._of["answers"] += record.heard.first_audible_at is not None
        self._of["interruptions"] += record.interrupted

    def made(self) -> Made:
        """All of it."""
        return Made(turns=self.told, **{name: self._of[name] for name in _COUNTED})


_COUNTED = ("calls", "untold", "answers", "interruptions")


@asynccontextmanager
async def calling(
    config: Config, tally: Tally, greeting: bool = False, patience_seconds: float = BUSY_SECONDS
) -> AsyncIterator[Conversation]:
    """A call, after the `greeting` if there is one. Raises ClientError."""
    call = Overheard(await connect(config, patience_seconds=patience_seconds), tally)
    tally.called()
    async with Conversation(call, prebuffer_seconds=config.prebuffer_seconds) as talk:
        if greeting:
            try:
                async with asyncio.timeout(GREETING_SECONDS):
                    await call.fell_silent.wait()
            except TimeoutError as problem:
                raise NoAnswer(
                    f"the bot did not say its greeting within {GREETING_SECONDS:g} s;"
                    " see VOICE_LLM_GREETING and the log of tts"
                ) from problem
        yield talk


STALL_SECONDS = 60.0  # patient: what is timed is the call, not this
EDGE_SECONDS = 0.3  # recognizers miss words at the very edge of a recording


class Voice:
    """Both engines, over the link. Every method raises EngineFailed."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._spoken: dict[str, bytes] = {}

    async def say(self, text: str) -> bytes:
        """Speech of a text: mono int16 PCM at 16 kHz, the same bytes each time."""
        if text not in self._spoken:
            tts = self._given.tts
            client = EngineClient("tts", self._given.paths.run / "tts.sock", STALL_SECONDS)
            try:
                parts = client.speak(text, tts.voice, tts.speed, urgent=False)
                self._spoken[text] = heard_rate(b"".join([part async for part in parts]))
            finally:
                await client.close()
        return self._spoken[text]

    async def hear(self, pcm: bytes) -> str:
        """What is said in mono int16 PCM at 24 kHz; empty for silence."""
        if not pcm:
            return ""
        edge = bytes(2 * round(EDGE_SECONDS * INPUT_SAMPLE_RATE))
        utterance = Utterance(1)
        utterance.pcm += edge + heard_rate(pcm) + edge
        utterance.complete = True
        client = EngineClient("llm", self._given.paths.run / "llm.sock", STALL_SECONDS)
        try:
            client.add(utterance)
            return await client.transcribe(utterance.id)
        finally:
            await client.close()


def heard_rate(pcm: bytes) -> bytes:
    """Mono int16 PCM at 24 kHz as the same at 16 kHz."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    return to_pcm(soxr.resample(samples, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE))


NAMES = (
    "ready",
    "seal",
    "container",
    "conversation",
    "interruption",
    "overload",
    "metrics",
    "recovery",
    "egress",
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What decides how the checks are made; `options` says what each means."""

    turns: int = 12
    interruptions: int = 4
    quick_seal: bool = False
    kill: bool = False
    wait_seconds: float = 60.0


def options(parser: argparse.ArgumentParser) -> None:
    """The verb's own command line."""
    own = Wishes()
    add = parser.add_argument
    add("--url", default="", help="where callers connect; default: by the settings, from here")
    add("--turns", type=int, default=own.turns, help=f"spoken questions ({own.turns})")
    add(
        "--interruptions",
        type=int,
        default=own.interruptions,
        help=f"answers to interrupt ({own.interruptions})",
    )
    add("--quick-seal", action="store_true", help="names and sizes of the sealed files only")
    add("--kill", action="store_true", help="also kill each process once and see it come back")
    add("--wait", type=float, default=own.wait_seconds, help="seconds until it has to be ready")
    add("--skip", default="", metavar="CHECK,...", help=f"of {', '.join(NAMES)}")
    add("--limit", action="append", default=[], metavar="NAME=SECONDS", help="another limit")
    add("--json", action="store_true", help="the report as JSON on stdout, the table on stderr")
    add("--page", action="store_true", help="only make the HTML page of a JSON report on stdin")
    for name in ("image-id", "container", "host"):
        add(f"--{name}", default="", help="for the report: what only the host knows")


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


def door(given: GatewayConfig, url: str = "") -> Door:
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
    return health.url_host(host)


def _get(url: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PAGE_SECONDS, context=context) as page:
            return int(page.status), page.read().decode()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode(errors="replace")
    except HTTPException as problem:
        raise OSError(f"no whole answer in HTTP from {url}: {problem!r}") from problem
