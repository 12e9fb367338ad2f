"""A thread that runs jobs by priority. A queued job that is cancelled does not run."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Any, TypeVar

T = TypeVar("T")


class JobPriority(IntEnum):
    """The purpose of a job; lower values run first."""

    GENERATE = 0  # a user is waiting for the reply
    WARM = 1  # a user is pausing and will soon wait for the reply
    SEGMENT = 2  # a user is still speaking
    TRANSCRIBE = 3  # no user is waiting
    CLOSE = 4


class WorkerThread:
    """Runs jobs one at a time, by priority and then in order of arrival."""

    def __init__(self, name: str) -> None:
        self._waiting: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, priority: JobPriority, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run `job` in the thread and return a future for its result.

        Cancelling the future drops the job if it has not started. Raises RuntimeError after `stop`.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._stopping:
                raise RuntimeError("the worker thread was stopped")
            heapq.heappush(self._waiting, (priority, next(self._number), future, job))
            self._changed.notify()
        return asyncio.wrap_future(future)

    def stop(self) -> None:
        """Cancel the queued jobs, and block until the current job and the thread have finished."""
        with self._changed:
            self._stopping = True
            dropped = [future for _, _, future, _ in self._waiting]
            self._waiting.clear()
            self._changed.notify()
        for future in dropped:
            future.cancel()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    return
                _, _, future, job = heapq.heappop(self._waiting)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as problem:  # re-raised where the future is awaited
                future.set_exception(problem)
            del future, job  # otherwise a closed session would stay alive until the next job
