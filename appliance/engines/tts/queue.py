"""The order in which phrases are synthesised: urgent ones first, then fair over the sessions."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar


class Job(Protocol):
    """What waits: whose phrase it is, and whether it goes before others."""

    session: int
    urgent: bool


_Job = TypeVar("_Job", bound=Job)


class PhraseQueue(Generic[_Job]):
    """Phrases of one session stay in order; sessions take turns. Safe for threads."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, deque[_Job]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def put(self, job: _Job) -> None:
        """Adds a phrase behind those of its session."""
        with self._changed:
            self._waiting.setdefault(job.session, deque()).append(job)
            self._changed.notify()

    def put_back(self, job: _Job) -> None:
        """A phrase that is not finished: it stays before the others of its session."""
        with self._changed:
            self._waiting.setdefault(job.session, deque()).appendleft(job)
            self._changed.notify()

    def remove(self, job: _Job) -> None:
        """Forgets a phrase, if it waits."""
        with self._changed:
            jobs = self._waiting.get(job.session, deque())
            if job in jobs:
                jobs.remove(job)
            if not jobs:
                self._waiting.pop(job.session, None)

    def take(self) -> _Job | None:
        """Waits for the next phrase; None once the queue is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            session = next(
                (s for s, jobs in self._waiting.items() if any(job.urgent for job in jobs)),
                next(iter(self._waiting)),
            )
            jobs = self._waiting.pop(session)
            job = next((job for job in jobs if job.urgent), jobs[0])
            jobs.remove(job)
            if jobs:
                self._waiting[session] = jobs  # at the end: the other sessions come first
            return job

    def close(self) -> None:
        """Wakes and ends every `take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
