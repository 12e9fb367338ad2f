"""Admission control: decide whether a connection attempt may become a session. No I/O."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass

from appliance.errors import (
    Draining,
    Full,
    NotReady,
    Refused,
    TooManyAttempts,
    WrongOrigin,
    WrongToken,
)
from appliance.gateway.rate_limit import TokenBucket
from appliance.settings import GatewayConfig

MAX_ADDRESSES = 10_000  # rate limits kept in memory; the least recently used is dropped


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    """The peer's IP address and the headers that admission checks; "" for an absent header."""

    address: str
    authorization: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """Current load and readiness. `waiting_for` names the engines that are not ready, if any."""

    sessions: int
    waiting_for: str = ""
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether new sessions are admitted while there is a free slot."""
        return not (self.waiting_for or self.draining)


class Admission:
    """Checks rate limit, token, origin and state, in this order."""

    def __init__(self, config: GatewayConfig, token: str) -> None:
        self._config = config
        self._expected = f"Bearer {token}".encode()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def refusal(
        self, attempt: ConnectionAttempt, state: GatewayState, now: float
    ) -> Refused | None:
        """Return why the attempt is refused, or None. `now` is in monotonic seconds.

        The state is only revealed to authorized callers. The token is compared in constant time.
        """
        if not self._bucket(attempt.address).take(1, now):
            return TooManyAttempts()
        received = attempt.authorization.encode("utf-8", "replace")
        if not hmac.compare_digest(received, self._expected):
            return WrongToken()
        # Browsers always send Origin and scripts cannot forge it. Other programs omit it.
        if attempt.origin and attempt.origin not in self._config.allowed_origins:
            return WrongOrigin()
        if state.draining:
            return Draining()
        if state.waiting_for:
            return NotReady(waiting_for=state.waiting_for)
        if state.sessions >= self._config.max_sessions:
            return Full(limit=self._config.max_sessions)
        return None

    def _bucket(self, address: str) -> TokenBucket:
        per_minute = self._config.max_attempts_per_minute
        bucket = self._buckets.pop(address, None) or TokenBucket(per_minute / 60, per_minute)
        self._buckets[address] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket
