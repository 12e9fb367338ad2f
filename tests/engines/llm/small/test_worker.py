"""Jobs in the worker thread: priorities, cancellation, stopping."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.worker import WorkerThread


@pytest.fixture
async def worker() -> AsyncIterator[WorkerThread]:
    worker = WorkerThread("test")
    yield worker
    await asyncio.to_thread(worker.stop)


async def test_result_of_a_job_is_returned(worker: WorkerThread) -> None:
    assert await worker.run(JobPriority.PREFILL, lambda: 6 * 7) == 42


async def test_error_of_a_job_is_raised(worker: WorkerThread) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.run(JobPriority.PREFILL, lambda: 1 / 0)


async def test_jobs_run_by_priority_then_in_order_of_arrival(worker: WorkerThread) -> None:
    gate, order = threading.Event(), list[str]()
    first = worker.run(JobPriority.TRANSCRIBE, gate.wait)
    jobs = [
        worker.run(priority, lambda name=name: order.append(name))  # type: ignore[misc]
        for name, priority in [
            ("transcribe", JobPriority.TRANSCRIBE),
            ("segment", JobPriority.SEGMENT),
            ("generate 1", JobPriority.GENERATE),
            ("prefill", JobPriority.PREFILL),
            ("generate 2", JobPriority.GENERATE),
        ]
    ]
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(first, *jobs)
    assert order == ["generate 1", "generate 2", "prefill", "segment", "transcribe"]


async def test_steps_of_a_reply_are_not_interleaved_with_less_urgent_jobs() -> None:
    worker, gate, order = WorkerThread("test", 60), threading.Event(), list[int]()
    step = worker.run(JobPriority.GENERATE, gate.wait)
    less_urgent = worker.run(JobPriority.PREFILL, lambda: order.append(-1))
    gate.set()
    await step
    for number in range(20):
        await worker.run(JobPriority.GENERATE, lambda number=number: order.append(number))  # type: ignore[misc]
    await asyncio.to_thread(worker.stop)
    assert order == list(range(20))
    assert less_urgent.cancelled()


async def test_queued_jobs_of_an_owner_become_more_urgent(worker: WorkerThread) -> None:
    gate, order = threading.Event(), list[str]()
    first = worker.run(JobPriority.GENERATE, gate.wait)
    jobs = [
        worker.run(priority, lambda name=name: order.append(name), name[0])  # type: ignore[misc]
        for name, priority in [
            ("a due", JobPriority.DUE_TOKEN),
            ("b prefill", JobPriority.PREFILL),
            ("c prefill", JobPriority.PREFILL),
            ("c first", JobPriority.GENERATE),
        ]
    ]
    worker.raise_priority("c", JobPriority.DUE_TOKEN)
    gate.set()
    await asyncio.gather(first, *jobs)
    assert order == ["c first", "a due", "c prefill", "b prefill"]


async def test_less_urgent_job_runs_when_no_other_follows() -> None:
    worker, order = WorkerThread("test", 0.001), list[str]()
    await asyncio.gather(
        worker.run(JobPriority.GENERATE, lambda: order.append("generate")),
        worker.run(JobPriority.BACKGROUND, lambda: order.append("background")),
    )
    assert order == ["generate", "background"]
    await asyncio.to_thread(worker.stop)


async def test_more_urgent_jobs_are_visible_to_a_running_job(worker: WorkerThread) -> None:
    started, gate = threading.Event(), threading.Event()

    def background() -> tuple[bool, bool]:
        started.set()
        gate.wait()
        return worker.has_urgent(JobPriority.BACKGROUND), worker.has_urgent(JobPriority.PREFILL)

    running = worker.run(JobPriority.BACKGROUND, background)
    await asyncio.to_thread(started.wait)
    waiting = worker.run(JobPriority.PREFILL, lambda: None)
    gate.set()
    assert await running == (True, False)
    await waiting
    assert not worker.has_urgent(JobPriority.CLOSE)


async def test_job_cancelled_while_waiting_never_starts(worker: WorkerThread) -> None:
    gate, ran = threading.Event(), list[int]()
    first = worker.run(JobPriority.PREFILL, gate.wait)
    dropped = worker.run(JobPriority.PREFILL, lambda: ran.append(1))
    dropped.cancel()
    await asyncio.sleep(0)
    gate.set()
    await first
    await worker.run(JobPriority.CLOSE, lambda: None)
    assert not ran


async def test_objects_of_a_finished_job_are_freed(worker: WorkerThread) -> None:
    class Thing:
        pass

    thing = Thing()
    watched = weakref.ref(thing)
    await worker.run(JobPriority.PREFILL, lambda thing=thing: None)  # type: ignore[misc]
    del thing
    await asyncio.sleep(0.05)
    gc.collect()
    assert watched() is None


async def test_stop_cancels_waiting_jobs_and_refuses_new_ones() -> None:
    worker, gate = WorkerThread("test"), threading.Event()
    first = worker.run(JobPriority.PREFILL, gate.wait)
    waiting = worker.run(JobPriority.PREFILL, lambda: None)
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
    await asyncio.sleep(0.05)
    gate.set()
    await stopping
    await first
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError):
        worker.run(JobPriority.PREFILL, lambda: None)
