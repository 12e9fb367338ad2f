"""Each process is frozen in a live call: the guard notices, ends it, and the caller is answered."""

from __future__ import annotations

import contextlib
import socket

import psutil
import pytest

from client.errors import CallDropped
from tests.drills.conftest import Stopwatch, acted, dial, heard, restarts, until
from tests.e2e.appliance import Appliance

MOST_WAITING = 5_000  # far above any backlog


async def replaced(appliance: Appliance, name: str, before: psutil.Process) -> None:
    """Until another process of this name runs, and calls are taken."""
    await until(lambda: appliance.process(name).pid != before.pid and appliance.ready())


def filled(appliance: Appliance, name: str) -> contextlib.ExitStack:
    """As many connections as wait at the socket of a process that takes none: nobody else can."""
    waiting = contextlib.ExitStack()
    for _ in range(MOST_WAITING):
        one = waiting.enter_context(socket.socket(socket.AF_UNIX))
        one.setblocking(False)
        try:
            one.connect(str(appliance.run_folder / f"{name}.sock"))
        except BlockingIOError:
            return waiting
    raise AssertionError(f"{name} takes connections")


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_a_caller_outlives_a_frozen_engine_whose_socket_queue_is_full(
    well: Appliance, stopwatch: Stopwatch, engine: str
) -> None:
    silent, ended = acted(well, "restart_process", "silent"), restarts(well, engine)
    victim = well.process(engine)
    async with await dial(well) as caller:
        victim.suspend()
        stopwatch.strikes()
        with filled(well, engine):
            answer = await caller.answer(caller.asks(0))
        stopwatch.note("answer heard to its end", answer.heard.ended_at)
        assert answer.outcome == "answered"
        assert "moment" in heard(answer) and "paris" in heard(answer)
        assert "paris" in answer.reply_text.lower() and "moment" not in answer.reply_text
        assert (await caller.answer(caller.asks(1))).outcome == "answered"
        assert caller.failure is None
    await replaced(well, engine, victim)
    await until(lambda: restarts(well, engine) == ended + 1)
    assert acted(well, "restart_process", "silent") == silent + 1


async def test_a_frozen_gateway_is_ended_and_the_next_call_is_taken(
    well: Appliance, stopwatch: Stopwatch
) -> None:
    silent, victim = acted(well, "restart_process", "silent"), well.process("gateway")
    async with await dial(well) as caller:
        asked = caller.asks(0)
        assert await caller.audible(asked) is not None
        victim.suspend()
        stopwatch.strikes()
        await caller.answer(asked)
        await until(lambda: isinstance(caller.failure, CallDropped))
        stopwatch.note("call ended")
    async with await dial(well) as caller:
        stopwatch.note("next call taken")
        assert (await caller.answer(caller.asks(0))).outcome == "answered"
    await until(lambda: acted(well, "restart_process", "silent") == silent + 1)


async def test_nobody_in_a_call_notices_a_frozen_exporter(
    well: Appliance, stopwatch: Stopwatch
) -> None:
    silent, victim = acted(well, "restart_process", "silent"), well.process("exporter")
    async with await dial(well) as caller:
        victim.suspend()
        stopwatch.strikes()
        assert (await caller.answer(caller.asks(0))).outcome == "answered"
        await until(lambda: acted(well, "restart_process", "silent") == silent + 1)
        stopwatch.note("metrics back")
        assert (await caller.answer(caller.asks(1))).outcome == "answered"


async def test_a_frozen_guard_is_ended_by_boot_and_forgets_nothing(
    well: Appliance, stopwatch: Stopwatch
) -> None:
    ended, before = restarts(well, "guard"), acted(well, "restart_process", "silent")
    victim = well.process("guard")
    async with await dial(well) as caller:
        victim.suspend()
        stopwatch.strikes()
        assert (await caller.answer(caller.asks(0))).outcome == "answered"
        await until(lambda: restarts(well, "guard") == ended + 1)
        await until(lambda: well.metric('voice_process_ready{process="guard"}') == 1)
        stopwatch.note("guard back")
        assert (await caller.answer(caller.asks(1))).outcome == "answered"
    assert acted(well, "restart_process", "silent") == before
