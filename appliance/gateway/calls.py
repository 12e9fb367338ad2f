"""The open calls of the gateway, with their tokens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from appliance.access.credentials import Credential
from appliance.access.usage import DailyUse
from appliance.errors import (
    DailyMinutesUsed,
    MadeRoom,
    SessionEnded,
    TokenExpired,
    TokenRevoked,
)
from appliance.gateway.session import Session


@dataclass(slots=True)
class Call:
    """Whose call it is, and up to when it was counted, in monotonic seconds.

    closing  whether the call was ended because of its token
    """

    caller: Credential
    counted_to: float
    closing: bool = False


class Calls:
    """The open sessions, and how long each token has called today."""

    def __init__(self) -> None:
        self._calls: dict[Session, Call] = {}
        self._yielding: set[Session] = set()  # closing, and their places are taken again
        self._use = DailyUse()
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, session: Session, caller: Credential) -> None:
        """Note that a call begins."""
        self._calls[session] = Call(caller, time.monotonic())
        self._none.clear()

    def remove(self, session: Session) -> None:
        """Note that a call has ended."""
        self._count(self._calls.pop(session))
        self._yielding.discard(session)
        if not self._calls:
            self._none.set()

    def by_token(self) -> Counter[str]:
        """Return the number of calls of each token, by id, without those that give way."""
        rest = self._calls.keys() - self._yielding
        return Counter(self._calls[session].caller.id for session in rest)

    def seconds_by_token(self) -> dict[str, float]:
        """Return how long each token has called today, by id."""
        return self._use.all(time.time())

    def quietest(
        self, now: float, caller: Credential | None = None
    ) -> tuple[Session, float] | None:
        """Return the session that is silent longest, and for how many seconds.

        With `caller`, only the sessions of this token count.
        """
        candidates = [
            session
            for session, call in self._calls.items()
            if session not in self._yielding and (caller is None or call.caller.id == caller.id)
        ]
        if not candidates:
            return None
        session = max(candidates, key=lambda each: each.silent_seconds(now))
        return session, session.silent_seconds(now)

    def give_way(self, session: Session, seconds: float) -> None:
        """End a session whose place is taken by another one."""
        self._yielding.add(session)
        session.end(MadeRoom(seconds=round(seconds)))

    def end_those_without_a_token(self, current: Callable[[Credential], Credential | None]) -> None:
        """End the calls whose token was revoked, has expired, or has used up its minutes.

        `current` returns a token with its expiry and limits of now, or None if it was revoked.
        """
        unix_time = time.time()
        for session, call in self._calls.items():
            self._count(call)
            reason = self._ending(current(call.caller), unix_time)
            if reason is not None and not call.closing:
                call.closing = True
                session.end(reason)

    def end_all(self, reason: SessionEnded) -> None:
        """End all calls."""
        for session in self._calls:
            session.end(reason)

    async def wait_for_none(self, seconds: float) -> None:
        """Wait until there are no calls, at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()

    def _count(self, call: Call) -> None:
        now = time.monotonic()
        self._use.add(call.caller.id, now - call.counted_to, time.time())
        call.counted_to = now

    def _ending(self, caller: Credential | None, unix_time: float) -> SessionEnded | None:
        if caller is None:
            return TokenRevoked()
        if caller.has_expired(unix_time):
            return TokenExpired()
        minutes = caller.limits.minutes_per_day
        if minutes is not None and self._use.seconds(caller.id, unix_time) >= 60 * minutes:
            return DailyMinutesUsed(limit=minutes)
        return None
