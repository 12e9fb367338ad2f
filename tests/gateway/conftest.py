"""The real gateway with instant engines behind real unix sockets, and a small caller."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import logging
import signal
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
import soxr  # type: ignore[import-untyped]
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appliance import journal
from appliance.gateway import server
from appliance.gateway.turn_taking import TurnModels
from appliance.link.engine import ToolCall, Turn
from appliance.link.protocol import HealthReport
from appliance.link.server import AnyEngine, serve_link
from appliance.settings import Settings
from client import wire
from tests.fakes import InstantSpeechEngine, InstantVoiceEngine, echo

TOKEN = "a-token-for-tests-only"
PATIENCE_SECONDS = 60.0  # for what must happen; never a measure of how fast it has to be
Speak = Callable[[str], bytes]


class EngineProcess:
    """An engine behind its socket that can die and come back."""

    def __init__(self, engine: AnyEngine, run: Path) -> None:
        self._engine = engine
        self._path = run / f"{engine.name}.sock"
        self._life: contextlib.AsyncExitStack | None = None
        self.ready = True

    async def start(self) -> None:
        self._life = contextlib.AsyncExitStack()
        status = lambda: HealthReport(ready=self.ready, waiting_for=self._engine.name)  # noqa: E731
        await self._life.enter_async_context(serve_link(self._path, status, self._engine))

    async def die(self) -> None:
        if self._life is not None:
            life, self._life = self._life, None
            await life.aclose()


class Mind:
    """What the speech engine answers; keeps what it was told. The last answer repeats."""

    def __init__(self, *answers: str | ToolCall) -> None:
        self._answers = list(answers)
        self.told: list[list[Turn]] = []
        self.heard: list[dict[int, bytes]] = []

    def __call__(self, conversation: Sequence[Turn], heard: dict[int, bytes]) -> str | ToolCall:
        self.told.append(list(conversation))
        self.heard.append(dict(heard))
        if not self._answers:
            return echo(conversation, heard)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def past(self, number: int) -> list[tuple[str, str, bool]]:
        """The turns of one conversation it was told, as (role, text, is audio)."""
        return [(t.role, t.text, t.utterance is not None) for t in self.told[number]]


class Caller:
    """One call: a microphone that never stops, and everything that came back."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[wire.Frame] = []
        self.spoken_up = bytearray()  # all PCM that was sent
        self._queue = bytearray()
        self._changed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._microphone())]

    async def send(self, kind: str, data: object = None) -> None:
        await self.socket.send(wire.encode(wire.Message(kind, data, id="1")))

    async def type(self, text: str) -> None:
        await self.send("send-text", {"content": text})

    async def say(self, pcm: bytes) -> None:
        """Speaks at the pace of real time; returns when all of it was sent."""
        self._queue += pcm
        while self._queue and not self.closed:
            await asyncio.sleep(0.02)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits for something that must come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    async def turn(self, number: int) -> dict[str, Any]:
        """The gateway's message about a turn."""
        await self.until(lambda: any(turn["turn"] == number for turn in self.turns))
        return next(turn for turn in self.turns if turn["turn"] == number)

    async def bot_speaks(self, times: int = 1) -> None:
        """The bot began to speak so many times, and audio of it is here."""
        await self.until(
            lambda: (
                len(self.messages("bot-started-speaking")) >= times
                and isinstance(self.frames[-1], wire.Audio)
            )
        )

    async def ended(self) -> tuple[int | None, str | None]:
        """The close code and reason, once the gateway has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    async def hang_up(self) -> None:
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def closed(self) -> bool:
        return self.socket.close_code is not None

    @property
    def turns(self) -> list[dict[str, Any]]:
        shown = [m.data for m in self.messages("server-message") if isinstance(m.data, dict)]
        return [data for data in shown if data.get("kind") == "turn"]

    @property
    def audio(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames if isinstance(frame, wire.Audio))

    def messages(self, kind: str) -> list[wire.Message]:
        return [f for f in self.frames if isinstance(f, wire.Message) and f.type == kind]

    def texts(self, kind: str) -> str:
        return "".join(message.text() for message in self.messages(kind))

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for raw in self.socket:
                self.frames.append(wire.decode(raw))
                self._changed.set()

    async def _microphone(self) -> None:
        size = wire.FRAME_SAMPLES * 2
        due = time.monotonic()
        with contextlib.suppress(ConnectionClosed):
            while True:
                pcm = bytes(self._queue[:size]).ljust(size, b"\0")
                del self._queue[:size]
                self.spoken_up += pcm
                await self.socket.send(wire.encode(wire.Audio(pcm)))
                # A machine that stalled drops microphone time instead of sending it in a burst.
                due = max(due + wire.FRAME_SECONDS, time.monotonic() - 0.5)
                await asyncio.sleep(max(0.0, due - time.monotonic()))


class RunningGateway:
    """The gateway, its engines, its log and who calls it."""

    def __init__(self, settings: Settings, mind: Mind, log: io.BytesIO) -> None:
        self.mind = mind
        self.run = settings.paths.run
        self.thinker = InstantSpeechEngine(mind)
        self.voice = InstantVoiceEngine()
        self.llm = EngineProcess(self.thinker, settings.paths.run)
        self.tts = EngineProcess(self.voice, settings.paths.run)
        self.gateway = server.GatewayServer(settings, TOKEN)
        self.scheme = "wss" if settings.gateway.tls_certificate else "ws"
        self._log = log
        self._callers: list[Caller] = []
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, *, ready: bool = True) -> None:
        self._serving = asyncio.create_task(self.gateway.run())
        await self.until(lambda: self._serving_failed() or self.lines("gateway started"))
        self.port = int(self.lines("gateway started")[0]["port"])
        if ready:
            await self.until(lambda: any(x["ready"] for x in self.lines("readiness changed")))

    async def stop(self) -> None:
        """As supervisord does it: SIGTERM."""
        if self._serving is not None and not self._serving.done():
            signal.raise_signal(signal.SIGTERM)
        if self._serving is not None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._serving
        await asyncio.gather(*(caller.hang_up() for caller in self._callers))
        await self.llm.die()
        await self.tts.die()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.02)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def socket(self, headers: dict[str, str] | None = None, **more: Any) -> ClientConnection:
        """A connection; `headers` in place of the right token. Raises InvalidStatus."""
        given = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        return await connect(f"{self.scheme}://{self.address}/ws", additional_headers=given, **more)

    async def call(self, **more: Any) -> Caller:
        """A caller who said that it is ready."""
        caller = Caller(await self.socket(**more))
        self._callers.append(caller)
        await caller.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await caller.until(lambda: caller.messages("bot-ready"))
        return caller

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """The log so far."""
        found = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [line for line in found if not event or line["event"] == event]

    def raw_log(self) -> bytes:
        return self._log.getvalue()

    def tracebacks(self) -> list[str]:
        """What should never be there: errors, or anything with a stack."""
        bad = ("error", "critical")
        found = [line for line in self.lines() if line["level"] in bad or "trace" in line]
        return [f"{line['event']} {line.get('place')} {line.get('trace')}" for line in found]

    def sessions(self) -> int:
        return len(self.gateway._sessions)

    def open_engine_sessions(self) -> int:
        return sum(not session.closed for session in self.thinker.sessions)

    async def everybody_left(self) -> None:
        await self.until(lambda: not self.sessions() and not self.open_engine_sessions())

    def metric(self, name: str, **labels: str) -> float:
        value = self.gateway._metrics.registry.get_sample_value(name, labels)
        return value if value is not None else 0.0

    def _serving_failed(self) -> bool:
        if self._serving is not None and self._serving.done():
            self._serving.result()
        return False


MakeGateway = Callable[..., contextlib.AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture(scope="session")
def turn_models() -> TurnModels:
    """The detectors, loaded once as in a gateway process."""
    return TurnModels(Settings().turn)


@pytest.fixture
def make_gateway(
    tmp_path: Path, turn_models: TurnModels, monkeypatch: pytest.MonkeyPatch
) -> MakeGateway:
    """`async with make_gateway(Mind(...), **knobs of the section gateway)`."""

    @contextlib.asynccontextmanager
    async def make(
        mind: Mind | None = None,
        *,
        engines: Sequence[str] = ("llm", "tts"),
        sections: dict[str, dict[str, Any]] | None = None,
        **gateway: Any,
    ) -> AsyncIterator[RunningGateway]:
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        settings = Settings()
        changes = {
            "paths": {"run": run},
            "gateway": {"port": 0, "drain_seconds": 0.2, "max_attempts_per_minute": 1000} | gateway,
            **(sections or {}),
        }
        for section, values in changes.items():
            part = dataclasses.replace(getattr(settings, section), **values)
            settings = dataclasses.replace(settings, **{section: part})
        if "turn" not in changes:
            monkeypatch.setattr(server, "TurnModels", lambda turn: turn_models)
        with logged() as log:
            house = RunningGateway(settings, mind or Mind(), log)
            for name in engines:
                await getattr(house, name).start()
            try:
                await house.start(ready=len(engines) == 2)
                yield house
            finally:
                await house.stop()

    return make


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> AsyncIterator[RunningGateway]:
    """A ready gateway with the settings' defaults and engines that echo."""
    async with make_gateway() as house:
        yield house


@contextlib.contextmanager
def logged() -> Iterator[io.BytesIO]:
    """The journal of the process, in strict mode; everything is put back afterwards."""
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
    """Real speech by espeak-ng: 16 kHz mono int16 PCM of a text."""
    folder = tmp_path_factory.mktemp("speech")
    made: dict[str, bytes] = {}

    def speak(text: str) -> bytes:
        if text not in made:
            path = folder / f"{len(made)}.wav"
            subprocess.run(["espeak-ng", "-v", "en-us", "-w", str(path), text], check=True)
            samples, rate = soundfile.read(path, dtype="float32")
            resampled = soxr.resample(samples, rate, wire.UP_RATE)
            made[text] = (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
        return made[text]

    return speak


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=appliance -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return chain, key


def trusting(chain: Path) -> ssl.SSLContext:
    """A client's TLS context that trusts this certificate and no other."""
    context = ssl.create_default_context(cafile=str(chain))
    context.check_hostname = True
    return context
