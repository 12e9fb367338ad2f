"""One thread for one model: jobs in order of urgency, a cancelled job is never begun."""

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


class Urgency(IntEnum):
    """Who goes first: a caller who waits, one who pauses, one who speaks, one who is read up."""

    GENERATE = 0
    WARM = 1
    SEGMENT = 2
    TRANSCRIBE = 3
    CLOSE = 4


class Worker:
    """A thread that runs jobs one at a time, the most urgent first, else in order of arrival."""

    def __init__(self, name: str) -> None:
        self._waiting: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, urgency: Urgency, job: Callable[[], T]) -> asyncio.Future[T]:
        """The result of `job`, run in the thread; cancelling it drops the job if it still waits."""
        future: Future[T] = Future()
        with self._changed:
            if self._stopping:
                raise RuntimeError("the worker was stopped")
            heapq.heappush(self._waiting, (urgency, next(self._number), future, job))
            self._changed.notify()
        return asyncio.wrap_future(future)

    def stop(self) -> None:
        """Ends the thread after the job it is at; jobs that wait are cancelled. Blocks."""
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
            except BaseException as problem:  # Handed to whoever awaits it, in its own thread.
                future.set_exception(problem)
            del future, job  # Else a closed session lives on until the next job.
