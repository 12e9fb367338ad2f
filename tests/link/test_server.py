"""Life cycle of an engine process: ready, draining, stopped, or exited after a model failure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import (
    ApplianceError,
    EngineDied,
    EngineGone,
    ModelUnhealthy,
    SocketTaken,
)
from appliance.link import server
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, GenerateRequest, Result, Tool, ToolCall
from appliance.link.health import ask_health
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from tests.fakes import InstantLLMEngine, InstantLLMSession
from tests.link.contract import linked, reply

HELLO = ChatMessage("user", "Hello.")


class UnhealthyEngine(InstantLLMEngine):
    """Fake engine that reports unreliable model output."""

    async def died(self) -> None:
        await super().died()
        raise ModelUnhealthy(engine=self.name)


@contextlib.asynccontextmanager
async def hosted(
    engine: InstantLLMEngine, path: Path
) -> AsyncIterator[tuple[EngineClient, asyncio.Task[None]]]:
    """Yield a client of a ready engine, and the task that represents its process."""
    process = asyncio.create_task(server._run_engine(engine, path))
    async with asyncio.timeout(10):
        while not (path.exists() and (await ask_health(path, 1)).ready):
            await asyncio.sleep(0.01)
    client = EngineClient("llm", path)
    try:
        yield client, process
    finally:
        await client.close()
        process.cancel()
        await asyncio.gather(process, return_exceptions=True)


async def test_sigterm_lets_a_running_generation_finish_and_refuses_others(tmp_path: Path) -> None:
    engine = InstantLLMEngine(lambda *_: "one two three four", pause_seconds=0.1)
    path = tmp_path / "s"
    async with hosted(engine, path) as (client, process):
        pieces = client.generate(GenerateRequest((HELLO,), 24, 0.0))
        received = [await anext(pieces)]
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        assert not (await ask_health(path, 1)).ready
        other = EngineClient("llm", path)
        with pytest.raises(EngineGone):
            await reply(other, HELLO)
        await other.close()
        received += [piece async for piece in pieces]
        await process
    assert received[:-1] == ["one", " two", " three", " four"]
    assert isinstance(received[-1], Result)
    assert engine.stopped


async def test_generation_that_outlasts_the_drain_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_SECONDS", 0.2)
    engine = InstantLLMEngine(lambda *_: "word " * 500, pause_seconds=0.05)
    async with hosted(engine, tmp_path / "s") as (client, process):
        pieces = client.generate(GenerateRequest((HELLO,), 400, 0.0))
        await anext(pieces)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(EngineGone):
            while True:
                await anext(pieces)
        await process
    assert engine.sessions[0].closed


@pytest.mark.parametrize(
    ("kind", "error"), [(InstantLLMEngine, EngineDied), (UnhealthyEngine, ModelUnhealthy)]
)
async def test_process_exits_when_its_model_died_or_is_unhealthy(
    tmp_path: Path, kind: type[InstantLLMEngine], error: type[ApplianceError]
) -> None:
    engine = kind()
    async with hosted(engine, tmp_path / "s") as (client, process):
        await reply(client, HELLO)
        engine.death.set()
        with pytest.raises(error) as death:
            await process
        with pytest.raises(EngineGone):
            await reply(client, HELLO)
    assert death.value.exit_code == 70


async def test_background_prefill_is_ignored_while_another_prefill_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, release = InstantLLMEngine(), asyncio.Event()
    prefill = InstantLLMSession.prefill

    async def prefill_slowly(session: InstantLLMSession, *arguments: Any) -> None:
        await prefill(session, *arguments)
        await release.wait()

    monkeypatch.setattr(InstantLLMSession, "prefill", prefill_slowly)
    async with linked(engine, tmp_path / "s") as client:
        await client.prefill((HELLO,))
        await reply(client, HELLO)  # the prefill is running now
        await client.prefill((HELLO, HELLO), background=True)
        await client.prefill((HELLO, HELLO, HELLO))
        release.set()
        await reply(client, HELLO)
        await client.prefill((HELLO, HELLO), background=True)
        await reply(client, HELLO)
    assert engine.prefilled == [[HELLO], [HELLO, HELLO, HELLO]]
    assert engine.prefilled_early == [[HELLO, HELLO]]


async def test_tools_are_sent_to_the_engine_and_a_tool_call_is_returned(tmp_path: Path) -> None:
    call = ToolCall("end_call", '{"why": "goodbye"}')
    tool = Tool("end_call", "Hangs up.", '{"type": "object"}')
    engine = InstantLLMEngine(lambda *_: call)
    async with linked(engine, tmp_path / "s") as client:
        pieces = [
            piece async for piece in client.generate(GenerateRequest((HELLO,), 24, 0.0, (tool,)))
        ]
        await client.prefill((HELLO,), (tool,))
    assert engine.offered == [[tool]]
    assert pieces[0] == call
    assert isinstance(pieces[-1], Result)
    assert pieces[-1].reason == "tool_call"


async def test_second_server_of_a_socket_is_refused_and_leaves_the_first_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    healthy = lambda: HealthReport(ready=True)  # noqa: E731
    async with serve_link(path, healthy):
        with pytest.raises(SocketTaken):
            async with serve_link(path, healthy):
                pytest.fail("the second one serves, too")
        assert (await ask_health(path, 1)).ready
    async with serve_link(path, healthy):  # the lock ends with its holder
        assert (await ask_health(path, 1)).ready


async def test_socket_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    path.with_suffix(".lock").touch()  # nobody holds it
    async with serve_link(path, lambda: HealthReport(ready=True)):
        assert (await ask_health(path, 1)).ready
