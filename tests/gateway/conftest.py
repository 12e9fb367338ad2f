"""The real gateway with instant engines behind real unix sockets, and a small client."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import logging
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import loguru
import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import soxr
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appliance import journal
from appliance.gateway import server
from appliance.gateway.http.gatekeeper import Gatekeeper
from appliance.gateway.turns.turn_models import TurnModels
from appliance.link.engine import Turn
from appliance.link.protocol import HealthReport
from appliance.link.server import AnyEngine, serve_link
from appliance.settings import Settings
from client import wire
from tests.fakes import InstantLLMEngine, InstantTTSEngine, echo
from tests.fakes.engines import Reply

TOKEN = "a-token-for-tests-only-which-is-long-enough"
TIMEOUT_SECONDS = 60.0  # generous, so that a slow machine does not fail the tests
Speak = Callable[[str], bytes]


class EngineProcess:
    """Fake engine process. Serves the engine link and can be killed and restarted."""

    def __init__(self, engine: AnyEngine, run: Path) -> None:
        self._engine = engine
        self._path = run / f"{engine.name}.sock"
        self._serving: contextlib.AsyncExitStack | None = None
        self.ready = True

    async def start(self) -> None:
        self._serving = contextlib.AsyncExitStack()
        status = lambda: HealthReport(ready=self.ready, waiting_for=self._engine.name)  # noqa: E731
        await self._serving.enter_async_context(serve_link(self._path, status, self._engine))

    async def kill(self) -> None:
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await serving.aclose()


class ScriptedLLM:
    """Scripted replies of the LLM engine, and a record of its requests. The last reply repeats.

    conversations  the turns of each request
    utterances     the audio that the engine held at each request, by utterance number
    """

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.conversations: list[list[Turn]] = []
        self.utterances: list[dict[int, bytes]] = []

    def __call__(self, conversation: Sequence[Turn], utterances: dict[int, bytes]) -> Reply:
        self.conversations.append(list(conversation))
        self.utterances.append(dict(utterances))
        if not self._replies:
            return echo(conversation, utterances)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def conversation(self, number: int) -> list[tuple[str, str, bool]]:
        """Return the turns of one request as (role, text, is audio)."""
        return [(t.role, t.text, t.utterance is not None) for t in self.conversations[number]]


class SimulatedClient:
    """A connected client. Its microphone sends continuously, and received frames are kept.

    frames     all frames received from the gateway
    sent_pcm   all PCM sent to the gateway
    distort    changes each frame of the microphone before it is sent
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[wire.Frame] = []
        self._messages: list[wire.RTVIMessage] = []  # of the frames: conditions look at all again
        self.sent_pcm = bytearray()
        self._queue = bytearray()
        self.distort: Callable[[bytes], bytes] = lambda pcm: pcm
        self.on_audio: Callable[[bytes], None] = lambda _pcm: None  # 24 kHz, as received
        self._changed = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._receive()),
            asyncio.create_task(self._microphone()),
        ]

    async def send(self, kind: str, data: object = None) -> None:
        await self.socket.send(wire.encode(wire.RTVIMessage(kind, data, id="1")))

    async def type(self, text: str) -> None:
        await self.send("send-text", {"content": text})

    def play_into_microphone(self, gain: float) -> None:
        """Let the microphone hear the loudspeaker from now on."""
        resampler = soxr.ResampleStream(24_000, 16_000, 1, dtype="int16")

        def play(pcm: bytes) -> None:
            samples = resampler.resample_chunk(np.frombuffer(pcm, dtype="<i2"))
            self._queue += (samples * gain).astype("<i2").tobytes()

        self.on_audio = play

    async def say(self, pcm: bytes) -> None:
        """Speak `pcm` in real time. Return when all of it has been sent."""
        self._queue += pcm
        while self._queue and not self.closed:
            await asyncio.sleep(0.02)

    def mute(self) -> None:
        """Stop sending audio, like a push-to-talk button that is released."""
        self._tasks[1].cancel()

    def unmute(self) -> None:
        """Send audio again."""
        self._tasks[1] = asyncio.create_task(self._microphone())

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` is true. Raises TimeoutError."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    async def turn(self, number: int) -> dict[str, Any]:
        """Wait for the report of turn `number` and return it."""
        await self.wait_until(lambda: any(turn["turn"] == number for turn in self.turns))
        return next(turn for turn in self.turns if turn["turn"] == number)

    async def wait_bot_speaking(self, times: int = 1) -> None:
        """Wait until the bot has begun to speak `times` times and its audio has arrived."""
        await self.wait_until(
            lambda: (
                len(self.messages("bot-started-speaking")) >= times
                and isinstance(self.frames[-1], wire.AudioFrame)
            )
        )

    async def wait_closed(self) -> tuple[int | None, str | None]:
        """Wait until the gateway has closed the connection. Return the close code and reason."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    async def disconnect(self) -> None:
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def closed(self) -> bool:
        return self.socket.close_code is not None

    @property
    def turns(self) -> list[dict[str, Any]]:
        messages = self.messages("server-message")
        data = [message.data for message in messages if isinstance(message.data, dict)]
        return [turn for turn in data if turn.get("kind") == "turn"]

    @property
    def audio(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames if isinstance(frame, wire.AudioFrame))

    def messages(self, kind: str) -> list[wire.RTVIMessage]:
        return [message for message in self._messages if message.type == kind]

    def texts(self, kind: str) -> str:
        return "".join(message.text() for message in self.messages(kind))

    async def _receive(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for raw in self.socket:
                frame = wire.decode(raw)
                self.frames.append(frame)
                if isinstance(frame, wire.AudioFrame):
                    self.on_audio(frame.pcm)
                elif isinstance(frame, wire.RTVIMessage):
                    self._messages.append(frame)
                self._changed.set()

    async def _microphone(self) -> None:
        size = wire.FRAME_SAMPLES * 2
        due = time.monotonic()
        with contextlib.suppress(ConnectionClosed):
            while True:
                pcm = self.distort(bytes(self._queue[:size]).ljust(size, b"\0"))
                del self._queue[:size]
                self.sent_pcm += pcm
                await self.socket.send(wire.encode(wire.AudioFrame(pcm)))
                # After a stall of the machine, microphone time is dropped, not sent in a burst.
                due = max(due + wire.FRAME_SECONDS, time.monotonic() - 0.5)
                await asyncio.sleep(max(0.0, due - time.monotonic()))


class RunningGateway:
    """The real gateway with instant engines, its log and its clients."""

    def __init__(self, settings: Settings, llm: ScriptedLLM, log: io.BytesIO) -> None:
        self.llm = llm
        self.run = settings.paths.run
        self.llm_engine = InstantLLMEngine(llm)
        self.tts_engine = InstantTTSEngine()
        self.llm_process = EngineProcess(self.llm_engine, settings.paths.run)
        self.tts_process = EngineProcess(self.tts_engine, settings.paths.run)
        self.gatekeeper = gatekeeper_of(settings)
        self.server = server.GatewayServer(settings, self.gatekeeper)
        self.scheme = "wss" if settings.gateway.tls_certificate else "ws"
        self._log = log
        self._clients: list[SimulatedClient] = []
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, *, ready: bool = True) -> None:
        self._serving = asyncio.create_task(self.server.run())
        await self.wait_until(lambda: self._has_failed() or self.log_lines("gateway started"))
        self.port = int(self.log_lines("gateway started")[0]["port"])
        if ready:
            await self.wait_until(
                lambda: (
                    self._has_failed()
                    or any(line["ready"] for line in self.log_lines("readiness changed"))
                )
            )

    async def stop(self) -> None:
        """Stop the gateway with SIGTERM, as supervisord does. Raises the error of `run`."""
        if self._serving is not None and not self._serving.done():
            signal.raise_signal(signal.SIGTERM)
        try:
            await self.wait_stopped()
        finally:
            await asyncio.gather(*(client.disconnect() for client in self._clients))
            await self.llm_process.kill()
            await self.tts_process.kill()

    async def wait_stopped(self) -> None:
        """Wait until the gateway has stopped. Raises the error that `run` raised."""
        serving, self._serving = self._serving, None
        if serving is not None:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await serving

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` is true. Raises TimeoutError."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                await asyncio.sleep(0.02)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open_socket(
        self, headers: dict[str, str] | None = None, **more: Any
    ) -> ClientConnection:
        """Connect with `headers`; by default, with the valid token. Raises InvalidStatus."""
        authorized = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        url = f"{self.scheme}://{self.address}/ws"
        return await connect(url, additional_headers=authorized, **more)

    async def connect(self, **more: Any) -> SimulatedClient:
        """Connect a client and exchange client-ready and bot-ready."""
        client = SimulatedClient(await self.open_socket(**more))
        self._clients.append(client)
        await client.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await client.wait_until(lambda: client.messages("bot-ready"))
        return client

    def log_lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the log lines so far, or only those of `event`."""
        lines = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [line for line in lines if not event or line["event"] == event]

    def raw_log(self) -> bytes:
        return self._log.getvalue()

    def logged_errors(self) -> list[str]:
        """Return the log lines with an error level or a traceback. Most tests expect none."""
        bad = ("error", "critical")
        lines = [line for line in self.log_lines() if line["level"] in bad or "trace" in line]
        return [f"{line['event']} {line.get('place')} {line.get('trace')}" for line in lines]

    def open_sessions(self) -> int:
        return len(self.server._calls)

    def open_engine_sessions(self) -> int:
        return sum(not session.closed for session in self.llm_engine.sessions)

    async def wait_sessions_closed(self) -> None:
        """Wait until no session is open, in the gateway or in the LLM engine."""
        await self.wait_until(lambda: not self.open_sessions() and not self.open_engine_sessions())

    def metric(self, name: str, **labels: str) -> float:
        value = self.server._metrics.registry.get_sample_value(name, labels)
        return value if value is not None else 0.0

    def _has_failed(self) -> bool:
        if self._serving is not None and self._serving.done():
            self._serving.result()
        return False


def gatekeeper_of(settings: Settings) -> Gatekeeper:
    """Return the gatekeeper of a gateway whose token file has TOKEN."""
    token_file = settings.paths.run / "token"
    if not token_file.exists():
        token_file.touch(0o600)
        token_file.write_text(TOKEN)
    return Gatekeeper(dataclasses.replace(settings.gateway, token_file=str(token_file)))


MakeGateway = Callable[..., contextlib.AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture(scope="session")
def turn_models() -> TurnModels:
    """The turn-taking models, loaded once as in a gateway process."""
    return TurnModels(Settings().turn)


@pytest.fixture
def make_gateway(
    tmp_path: Path, turn_models: TurnModels, monkeypatch: pytest.MonkeyPatch
) -> MakeGateway:
    """Start a gateway: `async with make_gateway(ScriptedLLM(...), **gateway_settings)`.

    engines   the engine processes to start; with both, wait until the gateway is ready
    sections  settings of other sections, by section and name
    """

    @contextlib.asynccontextmanager
    async def make(
        llm: ScriptedLLM | None = None,
        *,
        engines: Sequence[str] = ("llm", "tts"),
        sections: dict[str, dict[str, Any]] | None = None,
        **gateway: Any,
    ) -> AsyncIterator[RunningGateway]:
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        settings = Settings()
        defaults = {
            "port": free_port(),
            "drain_seconds": 0.2,
            "max_attempts_per_minute": 1000,
        }
        sections = sections or {}
        # Between the words of espeak-ng, there are shorter pauses. A reply would be begun there,
        # and the scripted replies would be used up.
        pause = {"pause_seconds": 0.1}
        changes = {
            "paths": {"run": run},
            "gateway": defaults | gateway,
            **sections,
            "turn": pause | sections.get("turn", {}),
        }
        for section, values in changes.items():
            part = dataclasses.replace(getattr(settings, section), **values)
            settings = dataclasses.replace(settings, **{section: part})
        if "turn" not in sections:
            monkeypatch.setattr(server, "TurnModels", lambda turn: turn_models)
        with captured_log() as log:
            running = RunningGateway(settings, llm or ScriptedLLM(), log)
            for name in engines:
                await getattr(running, f"{name}_process").start()
            try:
                await running.start(ready=len(engines) == 2)
                yield running
            finally:
                await running.stop()

    return make


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> AsyncIterator[RunningGateway]:
    """A ready gateway with default settings and engines that echo the input."""
    async with make_gateway() as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def captured_log() -> Iterator[io.BytesIO]:
    """Capture the process log in strict mode, then restore the logging configuration."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning
    stream = io.BytesIO()
    journal.configure(Settings().journal, "gateway", stream=stream, strict=True)
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        loguru.logger.remove()
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Speak:
    """Return a function that synthesizes text with espeak-ng: 16 kHz mono int16 PCM."""
    folder = tmp_path_factory.mktemp("speech")
    cache: dict[str, bytes] = {}

    def speak(text: str) -> bytes:
        if text not in cache:
            path = folder / f"{len(cache)}.wav"
            subprocess.run(["espeak-ng", "-v", "en-us", "-w", str(path), text], check=True)
            samples, rate = soundfile.read(path, dtype="float32")
            resampled = soxr.resample(samples, rate, wire.MIC_SAMPLE_RATE)
            cache[text] = (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
        return cache[text]

    return speak


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1 and its key."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=appliance -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return chain, key


def trusting(chain: Path) -> ssl.SSLContext:
    """Return a client TLS context that trusts only this certificate."""
    context = ssl.create_default_context(cafile=str(chain))
    context.check_hostname = True
    return context
