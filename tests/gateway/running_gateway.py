"""The real gateway in the process of the test, between instant engines and simulated clients."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from appliance.gateway import server
from appliance.gateway.http.gatekeeper import Gatekeeper
from appliance.gateway.turns.turn_models import TurnModels
from appliance.settings import Settings
from tests.fakes import InstantLLMEngine, InstantTTSEngine
from tests.gateway.captured_log import captured_log
from tests.gateway.fake_engines import EngineProcess, ScriptedLLM
from tests.gateway.simulated_client import TIMEOUT_SECONDS, SimulatedClient

TOKEN = "a-token-for-tests-only-which-is-long-enough"


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
        return len(self.server.control.calls)

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
            "drain_seconds": 0.0,  # a test ends with its calls
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
