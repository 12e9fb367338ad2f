"""Which request may run, by the tokens that vLLM's KV cache holds; pure.

vLLM takes any number of requests and, when its cache is full, throws out one that was already
speaking. So nothing runs here that may not need its tokens to the end: the prompt, less what is
cached and shared, and the longest reply. Replies go before transcriptions, and getting ready
(warming) is done only when there is nothing else to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from appliance.errors import EngineBusy

Admitted = Literal["run", "wait", "refuse"]


class Urgency(IntEnum):
    """Who goes first; also vLLM's own `priority`, in which lower is earlier."""

    REPLY = 0
    TRANSCRIPTION = 1
    WARM = 2


@dataclass(frozen=True, slots=True)
class _Request:
    request_id: str
    tokens: int
    urgency: Urgency


class Budget:
    """Admits requests to a cache of `kv_tokens`, handed out in blocks of `block_tokens`."""

    def __init__(self, kv_tokens: int, block_tokens: int, max_waiting: int) -> None:
        self._block = block_tokens
        self._total = kv_tokens // block_tokens * block_tokens
        self._max_waiting = max_waiting
        self._running: dict[str, _Request] = {}
        self._waiting: dict[Urgency, deque[_Request]] = {
            Urgency.REPLY: deque(),
            Urgency.TRANSCRIPTION: deque(),
        }

    @property
    def free_tokens(self) -> int:
        """What is not reserved."""
        return self._total - sum(request.tokens for request in self._running.values())

    def waiting(self, urgency: Urgency) -> int:
        """How many wait for their turn."""
        return len(self._waiting.get(urgency, ()))

    def admit(self, request_id: str, tokens: int, urgency: Urgency) -> Admitted:
        """Reserves for a request of at most `tokens`, or says that it waits, or that it cannot.

        In line are at most `max_waiting` of an urgency; a warming never waits. Raises ValueError
        for an id that is known already.
        """
        if self._known(request_id):
            raise ValueError(f"{request_id} is running or waiting already")
        request = _Request(request_id, -(-tokens // self._block) * self._block, urgency)
        if request.tokens > self._total:
            return "refuse"
        if not self._ahead(urgency) and request.tokens <= self.free_tokens:
            self._running[request_id] = request
            return "run"
        line = self._waiting.get(urgency)
        if line is None or len(line) >= self._max_waiting:
            return "refuse"
        line.append(request)
        return "wait"

    def finished(self, request_id: str) -> list[str]:
        """The request has ended, or waits no more; the ids of those that may run now."""
        self._running.pop(request_id, None)
        for line in self._waiting.values():
            for request in [one for one in line if one.request_id == request_id]:
                line.remove(request)
        started: list[str] = []
        for line in self._waiting.values():
            while line and line[0].tokens <= self.free_tokens:
                request = line.popleft()
                self._running[request.request_id] = request
                started.append(request.request_id)
            if line:
                break  # in order: who is first waits for room, however small the next one is
        return started

    def in_the_way(self) -> list[str]:
        """What has to end for the reply that is first in line to run: least urgent, latest first.

        Empty when no reply waits, or when replies alone hold what it needs.
        """
        line = self._waiting[Urgency.REPLY]
        if not line:
            return []
        missing = line[0].tokens - self.free_tokens
        ending: list[str] = []
        latest_first = list(self._running.values())[::-1]
        for request in sorted(latest_first, key=lambda one: -one.urgency):
            if missing <= 0 or request.urgency is Urgency.REPLY:
                break
            ending.append(request.request_id)
            missing -= request.tokens
        return ending if missing <= 0 else []

    def _known(self, request_id: str) -> bool:
        lines = self._waiting.values()
        return request_id in self._running or any(
            request_id == one.request_id for line in lines for one in line
        )

    def _ahead(self, urgency: Urgency) -> bool:
        """Whether somebody waits who goes before a new request of this urgency."""
        return any(line for kind, line in self._waiting.items() if kind <= urgency)


class Displaced(Exception):  # never leaves the room
    """A reply needs what this request held."""


class Room:
    """The budget, shared by all requests of an engine."""

    def __init__(self, budget: Budget, name: str) -> None:
        self._budget = budget
        self._name = name
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._limits: dict[str, asyncio.Timeout] = {}

    @contextlib.asynccontextmanager
    async def hold(self, tokens: int, urgency: Urgency) -> AsyncIterator[None]:
        """Holds room for `tokens`, once there is some.

        Raises EngineBusy when there is none and none will be, and Displaced, in the middle of what
        the room is held for, when a reply needs it; a reply itself is never displaced.
        """
        number = str(next(self._numbers))
        limit = asyncio.timeout(None)
        try:
            if urgency is Urgency.REPLY:
                await self._wait(number, tokens, urgency)
                yield
                return
            async with limit:
                self._limits[number] = limit
                await self._wait(number, tokens, urgency)
                yield
        except TimeoutError as problem:
            if limit.expired():
                raise Displaced from problem
            raise
        finally:
            self._limits.pop(number, None)
            self._waiting.pop(number, None)
            for started in self._budget.finished(number):
                if not self._waiting[started].done():
                    self._waiting[started].set_result(None)
            self._make_way()

    async def _wait(self, number: str, tokens: int, urgency: Urgency) -> None:
        match self._budget.admit(number, tokens, urgency):
            case "refuse":
                raise EngineBusy(engine=self._name)
            case "wait":
                self._waiting[number] = asyncio.get_running_loop().create_future()
                self._make_way()
                await self._waiting[number]

    def _make_way(self) -> None:
        """Displaces what keeps the first reply in line from running, if that is enough."""
        now = asyncio.get_running_loop().time()
        for other in self._budget.in_the_way():
            if limit := self._limits.pop(other, None):
                limit.reschedule(now)
