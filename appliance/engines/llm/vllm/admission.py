"""Admission of requests by the capacity of vLLM's KV cache.

vLLM accepts any number of requests. When its cache is full, it preempts a request that may already
be producing speech. To avoid that, a request is passed to vLLM only if the cache has room for all
the tokens it may need: its prompt and its longest reply. Replies take priority over transcriptions,
and prompts are prefilled only if no request is waiting.

`KVBudget` decides, without I/O. `KVAdmission` lets coroutines wait for these decisions.
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

from appliance.engines.llm import NAME
from appliance.errors import EngineBusy

Decision = Literal["run", "wait", "refuse"]


class RequestKind(IntEnum):
    """The purpose of a request; lower values are admitted first."""

    REPLY = 0
    TRANSCRIPTION = 1
    PREFILL = 2


@dataclass(frozen=True, slots=True)
class _Reservation:
    request_id: str
    tokens: int
    kind: RequestKind


class KVBudget:
    """Manages reservations in a cache of `kv_tokens` tokens, in blocks of `block_tokens`."""

    def __init__(self, kv_tokens: int, block_tokens: int, max_waiting: int) -> None:
        """Create an empty budget. At most `max_waiting` requests of one kind may wait."""
        self._block_tokens = block_tokens
        self._total = kv_tokens // block_tokens * block_tokens
        self._max_waiting = max_waiting
        self._running: dict[str, _Reservation] = {}
        self._queues: dict[RequestKind, deque[_Reservation]] = {
            RequestKind.REPLY: deque(),
            RequestKind.TRANSCRIPTION: deque(),
        }

    @property
    def free_tokens(self) -> int:
        """The number of tokens that are not reserved."""
        return self._total - sum(request.tokens for request in self._running.values())

    def admit(self, request_id: str, tokens: int, kind: RequestKind) -> Decision:
        """Reserve `tokens` tokens for a request, queue the request, or refuse it.

        Requests of kind PREFILL are never queued. Raises ValueError if the id is already in use.
        """
        if self._is_known(request_id):
            raise ValueError(f"{request_id} is already running or waiting")
        blocks = -(-tokens // self._block_tokens)
        request = _Reservation(request_id, blocks * self._block_tokens, kind)
        if request.tokens > self._total:
            return "refuse"
        if not self._is_preceded(kind) and request.tokens <= self.free_tokens:
            self._running[request_id] = request
            return "run"
        queue = self._queues.get(kind)
        if queue is None or len(queue) >= self._max_waiting:
            return "refuse"
        queue.append(request)
        return "wait"

    def finish(self, request_id: str) -> list[str]:
        """Remove a running or waiting request. Returns the ids of requests that may start now."""
        self._running.pop(request_id, None)
        for queue in self._queues.values():
            for request in [waiting for waiting in queue if waiting.request_id == request_id]:
                queue.remove(request)
        started: list[str] = []
        for queue in self._queues.values():
            while queue and queue[0].tokens <= self.free_tokens:
                request = queue.popleft()
                self._running[request.request_id] = request
                started.append(request.request_id)
            if queue:
                break  # later requests must not overtake, even if there is room for them
        return started

    def select_displaced(self) -> list[str]:
        """Return the running requests to cancel so that the first waiting reply can start.

        The lowest priority is cancelled first, then the most recent. Empty if no reply is waiting,
        or if cancelling all other requests would not free enough tokens.
        """
        queue = self._queues[RequestKind.REPLY]
        if not queue:
            return []
        missing = queue[0].tokens - self.free_tokens
        displaced: list[str] = []
        latest_first = list(self._running.values())[::-1]
        for request in sorted(latest_first, key=lambda running: -running.kind):
            if missing <= 0 or request.kind is RequestKind.REPLY:
                break
            displaced.append(request.request_id)
            missing -= request.tokens
        return displaced if missing <= 0 else []

    def _is_known(self, request_id: str) -> bool:
        queues = self._queues.values()
        return request_id in self._running or any(
            request_id == waiting.request_id for queue in queues for waiting in queue
        )

    def _is_preceded(self, kind: RequestKind) -> bool:
        """Return whether a waiting request precedes a new request of this kind."""
        return any(queue for queued, queue in self._queues.items() if queued <= kind)


class Displaced(Exception):  # caught by the session, never seen by the gateway
    """The request was cancelled because a reply needs its tokens."""


class KVAdmission:
    """A KVBudget shared by all requests of an engine."""

    def __init__(self, budget: KVBudget) -> None:
        self._budget = budget
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._timeouts: dict[str, asyncio.Timeout] = {}

    @contextlib.asynccontextmanager
    async def hold(self, tokens: int, kind: RequestKind) -> AsyncIterator[None]:
        """Wait until `tokens` tokens are free and reserve them during the context.

        Raises EngineBusy if the request is refused. Raises Displaced within the context if a reply
        needs the tokens; replies themselves are never displaced.
        """
        request_id = str(next(self._numbers))
        timeout = asyncio.timeout(None)
        try:
            if kind is RequestKind.REPLY:
                await self._wait(request_id, tokens, kind)
                yield
                return
            async with timeout:
                self._timeouts[request_id] = timeout
                await self._wait(request_id, tokens, kind)
                yield
        except TimeoutError as problem:
            if timeout.expired():
                raise Displaced from problem
            raise
        finally:
            self._timeouts.pop(request_id, None)
            self._waiting.pop(request_id, None)
            for started in self._budget.finish(request_id):
                if not self._waiting[started].done():
                    self._waiting[started].set_result(None)
            self._displace()

    async def _wait(self, request_id: str, tokens: int, kind: RequestKind) -> None:
        match self._budget.admit(request_id, tokens, kind):
            case "refuse":
                raise EngineBusy(engine=NAME)
            case "wait":
                self._waiting[request_id] = asyncio.get_running_loop().create_future()
                self._displace()
                await self._waiting[request_id]

    def _displace(self) -> None:
        """Cancel the requests that prevent the first waiting reply from starting."""
        now = asyncio.get_running_loop().time()
        for request_id in self._budget.select_displaced():
            if timeout := self._timeouts.pop(request_id, None):
                timeout.reschedule(now)
