"""Who is let in; pure: facts in, a refusal or None out."""

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
from appliance.gateway.wire import Bucket
from appliance.settings import GatewayConfig

MAX_ADDRESSES = 10_000  # remembered at a time; the one not seen for longest is forgotten


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection attempt: where from, and the headers that count."""

    address: str
    authorization: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class House:
    """How the gateway is at the moment; `waiting_for` names what is not ready."""

    sessions: int
    waiting_for: str = ""
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether calls are taken, as long as there is room."""
        return not (self.waiting_for or self.draining)


class Admission:
    """Decides on attempts. Remembers only when each address last tried."""

    def __init__(self, gateway: GatewayConfig, token: str) -> None:
        self._gateway = gateway
        self._expected = f"Bearer {token}".encode()
        self._attempts: OrderedDict[str, Bucket] = OrderedDict()

    def refusal(self, attempt: Attempt, house: House, now: float) -> Refused | None:
        """Why the caller cannot come in, or None. `now` in seconds, never falling.

        Who is not allowed learns nothing about the house; the token is compared in constant time.
        """
        if not self._bucket(attempt.address).take(1, now):
            return TooManyAttempts()
        given = attempt.authorization.encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._expected):
            return WrongToken()
        # Programs send no Origin; browsers always do, and cannot forge it.
        if attempt.origin and attempt.origin not in self._gateway.allowed_origins:
            return WrongOrigin()
        if house.draining:
            return Draining()
        if house.waiting_for:
            return NotReady(waiting_for=house.waiting_for)
        if house.sessions >= self._gateway.max_sessions:
            return Full(limit=self._gateway.max_sessions)
        return None

    def _bucket(self, address: str) -> Bucket:
        per_minute = self._gateway.max_attempts_per_minute
        bucket = self._attempts.pop(address, None) or Bucket(per_minute / 60, per_minute)
        self._attempts[address] = bucket
        if len(self._attempts) > MAX_ADDRESSES:
            self._attempts.popitem(last=False)
        return bucket
