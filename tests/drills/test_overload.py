"""During a call, a process leaks memory or is flooded with connections."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed

from appliance.link import protocol
from appliance.link.health import URI
from tests.drills.conftest import (
    Stopwatch,
    assert_spoken,
    dial,
    guard_actions,
    restarts,
    wait_until,
)
from tests.drills.leaking import FLAG
from tests.e2e.appliance import Appliance

IDLE_CONNECTIONS = 300  # each stays open and sends nothing
FLOODING_CONNECTIONS = 4  # each sends requests continuously and never reads


async def test_leaking_process_is_restarted_before_the_machine_runs_out_of_memory(
    ready: Appliance, stopwatch: Stopwatch
) -> None:
    actions_before = guard_actions(ready, "restart_process", "memory")
    restarts_before = restarts(ready, "tts")
    async with await dial(ready) as caller:
        (ready.run_folder / FLAG).touch()
        stopwatch.start()
        await wait_until(
            lambda: guard_actions(ready, "restart_process", "memory") == actions_before + 1
        )
        stopwatch.record("noticed")
        answer = await caller.answer(caller.say_question(0))
        stopwatch.record("answer fully played", answer.heard.ended_at)
        assert answer.outcome == "answered"
        assert_spoken(answer, "paris")
        assert caller.failure is None
    await wait_until(lambda: restarts(ready, "tts") == restarts_before + 1)


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_caller_is_answered_while_others_flood_an_engines_socket(
    ready: Appliance, stopwatch: Stopwatch, engine: str
) -> None:
    path, restarts_before = str(ready.run_folder / f"{engine}.sock"), restarts(ready, engine)

    async def flood() -> None:
        connection = await unix_connect(path, URI, compression=None, ping_interval=None)
        connection.transport.pause_reading()
        try:
            while True:
                await connection.send(protocol.encode(protocol.HealthRequest()))
        except ConnectionClosed:
            pass  # the engine may close it
        finally:
            connection.transport.abort()  # neither side would read the other's close frame

    async with await dial(ready) as caller:
        idle = [await asyncio.open_unix_connection(path) for _ in range(IDLE_CONNECTIONS)]
        flooding = [asyncio.create_task(flood()) for _ in range(FLOODING_CONNECTIONS)]
        stopwatch.start()
        answer = await caller.answer(caller.say_question(0))
        stopwatch.record("answer fully played", answer.heard.ended_at)
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        for _, writer in idle:
            writer.close()
        assert answer.outcome == "answered"
        assert_spoken(answer, "paris")
        assert caller.failure is None
    assert restarts(ready, engine) == restarts_before
