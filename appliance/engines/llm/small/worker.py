"""A thread that runs jobs by priority. A queued job that is cancelled does not run.

A session requests the next step of a reply after it has received the last one. Without care, a job
of a lower priority would start in this gap, and the reply would advance by one step per job. The
thread therefore waits a few milliseconds before it starts a job of a lower priority than the last.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from appliance.engines.llm.small.priority import JobPriority

T = TypeVar("T")


# Maximum wait for the next step of a reply, from the end of its last one. The event loop usually
# requests it within 1 ms.
NEXT_STEP_SECONDS: Final = 0.008


@dataclass(order=True, slots=True)
class _QueuedJob:
    """A job in the queue. `number` counts the jobs, so that equal ones run in order of arrival."""

    priority: JobPriority
    number: int
    future: Future[Any] = field(compare=False)
    run: Callable[[], Any] = field(compare=False)
    owner: Hashable = field(compare=False)


class WorkerThread:
    """Runs jobs one at a time, by priority and then in order of arrival.

    A job of a lower priority than the last one starts `next_step_seconds` after its end at the
    earliest.
    """

    def __init__(self, name: str, next_step_seconds: float = NEXT_STEP_SECONDS) -> None:
        self._next_step_seconds = next_step_seconds
        self._waiting: list[_QueuedJob] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(
        self, priority: JobPriority, job: Callable[[], T], owner: Hashable = None
    ) -> asyncio.Future[T]:
        """Run `job` in the thread and return a future for its result.

        `raise_priority` finds the job by its `owner`. Cancelling the future drops the job if it has
        not started. Raises RuntimeError after `stop`.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._stopping:
                raise RuntimeError("the worker thread was stopped")
            heapq.heappush(
                self._waiting, _QueuedJob(priority, next(self._number), future, job, owner)
            )
            self._changed.notify()
        return asyncio.wrap_future(future)

    def raise_priority(self, owner: Hashable, priority: JobPriority) -> None:
        """Give the queued jobs of `owner` at least this priority."""
        with self._changed:
            for job in self._waiting:
                if job.owner == owner and job.priority > priority:
                    job.priority = priority
            heapq.heapify(self._waiting)
            self._changed.notify()

    def stop(self) -> None:
        """Cancel the queued jobs, and block until the current job and the thread have finished."""
        with self._changed:
            self._stopping = True
            dropped = [job.future for job in self._waiting]
            self._waiting.clear()
            self._changed.notify()
        for future in dropped:
            future.cancel()
        self._thread.join()

    def has_urgent(self, priority: JobPriority) -> bool:
        """Return whether a queued job has a higher priority than `priority`."""
        with self._changed:
            return bool(self._waiting) and self._waiting[0].priority < priority

    def _work(self) -> None:
        last, ended_at = JobPriority.CLOSE, 0.0
        while (job := self._next(last, ended_at + self._next_step_seconds)) is not None:
            last = job.priority
            if job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(job.run())
                except BaseException as problem:  # re-raised where the future is awaited
                    job.future.set_exception(problem)
            ended_at = time.monotonic()
            del job  # otherwise a closed session would stay alive until the next job

    def _next(self, last: JobPriority, wait_until: float) -> _QueuedJob | None:
        """Wait for a job and remove it from the queue. Returns None after `stop`.

        `last` is the priority of the previous job. A job of a lower priority does not start before
        `wait_until`, in seconds of the monotonic clock, in case another job of this priority comes.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._waiting and self._waiting[0].priority > last:
                self._changed.wait_for(
                    lambda: self._stopping or self._waiting[0].priority <= last,
                    max(0.0, wait_until - time.monotonic()),
                )
            if not self._waiting:
                return None
            return heapq.heappop(self._waiting)
