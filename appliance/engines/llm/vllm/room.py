"""Waiting for room in vLLM's cache, and giving way; `budget.py` decides who runs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from appliance.engines.llm.vllm.admission import Budget, Urgency
from appliance.errors import EngineBusy


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
