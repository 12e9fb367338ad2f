"""A process is filled up, with memory of its own or with connections, in a live call."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed

from appliance.link import protocol
from appliance.link.health import URI
from tests.drills.conftest import Stopwatch, acted, dial, heard, restarts, until
from tests.drills.leaking import FLAG
from tests.e2e.appliance import Appliance

STRANGERS = 300  # who connect and say nothing
FLOODERS = 4  # who ask without end and never listen


async def test_a_leaking_process_is_restarted_before_it_takes_the_machine(
    well: Appliance, stopwatch: Stopwatch
) -> None:
    grown, ended = acted(well, "restart_process", "memory"), restarts(well, "tts")
    async with await dial(well) as caller:
        (well.run_folder / FLAG).touch()
        stopwatch.strikes()
        await until(lambda: acted(well, "restart_process", "memory") == grown + 1)
        stopwatch.note("noticed")
        answer = await caller.answer(caller.asks(0))
        stopwatch.note("answer heard to its end", answer.heard.ended_at)
        assert answer.outcome == "answered"
        assert "paris" in heard(answer)
        assert caller.failure is None
    await until(lambda: restarts(well, "tts") == ended + 1)


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_a_caller_is_answered_while_strangers_flood_the_socket_of_an_engine(
    well: Appliance, stopwatch: Stopwatch, engine: str
) -> None:
    path, ended = str(well.run_folder / f"{engine}.sock"), restarts(well, engine)

    async def flood() -> None:
        connection = await unix_connect(path, URI, compression=None, ping_interval=None)
        connection.transport.pause_reading()
        try:
            while True:
                await connection.send(protocol.encode(protocol.HealthRequest()))
        except ConnectionClosed:
            pass  # the engine may well hang up on such a one
        finally:
            connection.transport.abort()  # neither side would hear the other's goodbye

    async with await dial(well) as caller:
        strangers = [await asyncio.open_unix_connection(path) for _ in range(STRANGERS)]
        flooding = [asyncio.create_task(flood()) for _ in range(FLOODERS)]
        stopwatch.strikes()
        answer = await caller.answer(caller.asks(0))
        stopwatch.note("answer heard to its end", answer.heard.ended_at)
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        for _, writer in strangers:
            writer.close()
        assert answer.outcome == "answered"
        assert "paris" in heard(answer)
        assert caller.failure is None
    assert restarts(well, engine) == ended
