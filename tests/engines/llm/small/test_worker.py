from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from appliance.engines.llm.small.worker import Urgency, Worker


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("test")
    yield worker
    await asyncio.to_thread(worker.stop)


async def test_a_result_comes_back(worker: Worker) -> None:
    assert await worker.run(Urgency.WARM, lambda: 6 * 7) == 42


async def test_an_error_comes_back(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.run(Urgency.WARM, lambda: 1 / 0)


async def test_the_urgent_go_first_and_equals_in_order(worker: Worker) -> None:
    gate, order = threading.Event(), list[str]()
    first = worker.run(Urgency.TRANSCRIBE, gate.wait)
    jobs = [
        worker.run(urgency, lambda name=name: order.append(name))  # type: ignore[misc]
        for name, urgency in [
            ("transcribe", Urgency.TRANSCRIBE),
            ("segment", Urgency.SEGMENT),
            ("generate 1", Urgency.GENERATE),
            ("warm", Urgency.WARM),
            ("generate 2", Urgency.GENERATE),
        ]
    ]
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(first, *jobs)
    assert order == ["generate 1", "generate 2", "warm", "segment", "transcribe"]


async def test_a_cancelled_job_that_waits_is_never_begun(worker: Worker) -> None:
    gate, ran = threading.Event(), list[int]()
    first = worker.run(Urgency.WARM, gate.wait)
    dropped = worker.run(Urgency.WARM, lambda: ran.append(1))
    dropped.cancel()
    await asyncio.sleep(0)
    gate.set()
    await first
    await worker.run(Urgency.CLOSE, lambda: None)
    assert not ran


async def test_what_a_job_held_is_free_when_it_is_done(worker: Worker) -> None:
    class Thing:
        pass

    thing = Thing()
    watched = weakref.ref(thing)
    await worker.run(Urgency.WARM, lambda thing=thing: None)  # type: ignore[misc]
    del thing
    await asyncio.sleep(0.05)
    gc.collect()
    assert watched() is None


async def test_a_stopped_worker_cancels_what_waits_and_takes_no_more() -> None:
    worker, gate = Worker("test"), threading.Event()
    first = worker.run(Urgency.WARM, gate.wait)
    waiting = worker.run(Urgency.WARM, lambda: None)
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
    await asyncio.sleep(0.05)
    gate.set()
    await stopping
    await first
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError):
        worker.run(Urgency.WARM, lambda: None)
