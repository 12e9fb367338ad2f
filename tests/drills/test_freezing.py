"""Each process is frozen during a call; the guard kills it, and the caller gets an answer."""

from __future__ import annotations

import contextlib
import socket

import psutil
import pytest

from client.errors import CallDropped
from tests.drills.conftest import (
    Stopwatch,
    assert_spoken,
    dial,
    guard_actions,
    recognized,
    restarts,
    wait_until,
)
from tests.e2e.appliance import Appliance

MAX_CONNECTIONS = 5_000  # far above any backlog


async def wait_for_replacement(appliance: Appliance, name: str, before: psutil.Process) -> None:
    """Wait until another process of this name runs, and calls are taken."""
    await wait_until(lambda: appliance.process(name).pid != before.pid and appliance.ready())


def fill_backlog(appliance: Appliance, name: str) -> contextlib.ExitStack:
    """Open connections to a frozen process until its socket's backlog is full."""
    connections = contextlib.ExitStack()
    for _ in range(MAX_CONNECTIONS):
        connection = connections.enter_context(socket.socket(socket.AF_UNIX))
        connection.setblocking(False)
        try:
            connection.connect(str(appliance.run_folder / f"{name}.sock"))
        except BlockingIOError:
            return connections
    raise AssertionError(f"{name} accepts connections")


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_call_survives_a_frozen_engine_with_a_full_socket_backlog(
    ready: Appliance, stopwatch: Stopwatch, engine: str
) -> None:
    silent, ended = guard_actions(ready, "restart_process", "silent"), restarts(ready, engine)
    victim = ready.process(engine)
    async with await dial(ready) as caller:
        victim.suspend()
        stopwatch.start()
        with fill_backlog(ready, engine):
            answer = await caller.answer(caller.say_question(0))
        stopwatch.record("answer heard to its end", answer.heard.ended_at)
        assert answer.outcome == "answered"
        assert_spoken(answer, "paris")
        assert "moment" in recognized(answer) and "moment" not in answer.reply_text
        assert (await caller.answer(caller.say_question(1))).outcome == "answered"
        assert caller.failure is None
    await wait_for_replacement(ready, engine, victim)
    await wait_until(lambda: restarts(ready, engine) == ended + 1)
    assert guard_actions(ready, "restart_process", "silent") == silent + 1


async def test_frozen_gateway_is_killed_and_the_next_call_is_taken(
    ready: Appliance, stopwatch: Stopwatch
) -> None:
    silent, victim = guard_actions(ready, "restart_process", "silent"), ready.process("gateway")
    async with await dial(ready) as caller:
        turn = caller.say_question(0)
        assert await caller.audible(turn) is not None
        victim.suspend()
        stopwatch.start()
        await caller.answer(turn)
        await wait_until(lambda: isinstance(caller.failure, CallDropped))
        stopwatch.record("call ended")
    async with await dial(ready) as caller:
        stopwatch.record("next call taken")
        assert (await caller.answer(caller.say_question(0))).outcome == "answered"
    await wait_until(lambda: guard_actions(ready, "restart_process", "silent") == silent + 1)


async def test_callers_do_not_notice_a_frozen_exporter(
    ready: Appliance, stopwatch: Stopwatch
) -> None:
    silent, victim = guard_actions(ready, "restart_process", "silent"), ready.process("exporter")
    async with await dial(ready) as caller:
        victim.suspend()
        stopwatch.start()
        assert (await caller.answer(caller.say_question(0))).outcome == "answered"
        await wait_until(lambda: guard_actions(ready, "restart_process", "silent") == silent + 1)
        stopwatch.record("metrics back")
        assert (await caller.answer(caller.say_question(1))).outcome == "answered"


async def test_frozen_guard_is_killed_by_boot_and_keeps_its_history(
    ready: Appliance, stopwatch: Stopwatch
) -> None:
    ended, before = restarts(ready, "guard"), guard_actions(ready, "restart_process", "silent")
    victim = ready.process("guard")
    async with await dial(ready) as caller:
        victim.suspend()
        stopwatch.start()
        assert (await caller.answer(caller.say_question(0))).outcome == "answered"
        await wait_until(lambda: restarts(ready, "guard") == ended + 1)
        await wait_until(lambda: ready.metric('voice_process_ready{process="guard"}') == 1)
        stopwatch.record("guard back")
        assert (await caller.answer(caller.say_question(1))).outcome == "answered"
    assert guard_actions(ready, "restart_process", "silent") == before
