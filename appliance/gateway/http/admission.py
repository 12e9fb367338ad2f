"""Admission control: decide whether a connection attempt may become a session. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.access.credentials import Credential
from appliance.access.presented import Kind
from appliance.access.signed import SHARED_ID
from appliance.errors import (
    Closed,
    Draining,
    ExpiredToken,
    Full,
    MinutesUsed,
    NotReady,
    Refused,
    TokenFull,
    TooManyAttempts,
    UnknownPath,
    WrongOrigin,
    WrongToken,
)
from appliance.gateway.rate_limit import TokenBucket
from appliance.settings import GatewayConfig
from appliance.web.limits import network_of

MAX_ADDRESSES = 10_000  # rate limits kept in memory; the least recently used is dropped
MAX_TOKENS = 10_000  # whose rate limits are kept in memory, apart from those of addresses
TOKEN_ATTEMPTS_RATIO = 10  # attempts of a token from all addresses, as a multiple of one address


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    """Who makes a request, as far as it was checked.

    address         the client's IP address
    origin          the `Origin` headers, joined with ", "; "" if there is none
    own_origin      the web origin that the request was sent to; "" if it is unknown
    kind            what the request presented
    caller          whose token it is, or None if it is wrong; the token may have expired
    problem         why it is wrong
    for_acceptance  whether it is the acceptance test's, which may also call a closed appliance
    ticket          the ticket that the request presented; "" if it presented something else
    """

    address: str
    origin: str = ""
    own_origin: str = ""
    kind: Kind = "none"
    caller: Credential | None = None
    problem: Refused | None = None
    for_acceptance: bool = False
    ticket: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class GatewayState:
    """Current load and readiness. `waiting_for` names the engines that are not ready, if any.

    `sessions_by_token` has the number of sessions of each token by the token's id, and
    `seconds_by_token` how long it has called today.
    """

    sessions: int
    waiting_for: str = ""
    draining: bool = False
    closed: bool = False
    sessions_by_token: Mapping[str, int] = field(default_factory=dict)
    seconds_by_token: Mapping[str, float] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether new sessions are admitted while there is a free slot."""
        return not (self.waiting_for or self.draining or self.closed)


class Admission:
    """Checks rate limit, token, expiry, origin and state, in this order.

    Attempts with a right token and all others have limits of their own, so that the guesses of a
    stranger do not lock out the callers who share the stranger's address (a NAT, a proxy). A token
    is too long to be guessed at any rate; the limit of the others bounds what they cost.

    Attempts with a right token are also counted over all addresses, so that a token that leaked is
    limited, too. These counts are kept apart: strangers cannot push them out of memory.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._by_address = _Buckets(MAX_ADDRESSES)
        self._by_token = _Buckets(MAX_TOKENS)

    def identity_refusal(
        self, attempt: ConnectionAttempt, now: float, unix_time: float
    ) -> Refused | None:
        """Return why the attempt is refused whatever the gateway's state is, or None.

        `now` is in monotonic seconds, `unix_time` in seconds since 1970.
        """
        caller = attempt.caller
        if not self._may_try(attempt.address, caller, now):
            return TooManyAttempts()
        if caller is None:
            return attempt.problem or WrongToken()
        if caller.has_expired(unix_time):
            return ExpiredToken()
        return None if self._may_come_from(attempt) else WrongOrigin()

    def refusal(
        self, attempt: ConnectionAttempt, state: GatewayState, now: float, unix_time: float
    ) -> Refused | None:
        """Return why the attempt does not become a session, or None.

        The state is only revealed to authorized callers.
        """
        refused = self.identity_refusal(attempt, now, unix_time)
        if refused is not None or attempt.caller is None:
            return refused
        caller, limits = attempt.caller, attempt.caller.limits
        minutes = limits.minutes_per_day
        if minutes is not None and state.seconds_by_token.get(caller.id, 0.0) >= 60 * minutes:
            return MinutesUsed(limit=minutes)
        not_open = _not_open(state, attempt.for_acceptance)
        if not_open is not None:
            return not_open
        most = self._most_calls(caller)
        if state.sessions_by_token.get(caller.id, 0) >= most:
            return TokenFull(limit=most)
        return self._full(state)

    def _most_calls(self, caller: Credential) -> int:
        """Return how many calls a token may have at the same time.

        A named token without a limit of its own leaves one place to the others. The shared token
        may be the only one, and the acceptance test fills all places with it.
        """
        most, own = self._config.max_sessions_per_token, caller.limits.calls
        if own is None and caller.id != SHARED_ID:
            own = max(1, self._config.max_sessions - 1)
        return most if own is None else min(own, most)

    def no_room(self, state: GatewayState) -> Refused | None:
        """Return why no call would be let in now, whoever made it, or None."""
        return _not_open(state, for_acceptance=False) or self._full(state)

    def _full(self, state: GatewayState) -> Full | None:
        limit = self._config.max_sessions
        return Full(limit=limit) if state.sessions >= limit else None

    def _may_come_from(self, attempt: ConnectionAttempt) -> bool:
        """Whether pages of the attempt's web origin may use what it presents.

        Browsers always send Origin and scripts cannot forge it. Other programs omit it. A browser
        adds the cookie to requests of any page, so it counts only for the gateway's own pages.
        """
        if attempt.kind == "cookie":
            return bool(attempt.origin) and attempt.origin == attempt.own_origin
        return not attempt.origin or self.trusts(attempt.origin, attempt.own_origin)

    def trusts(self, origin: str, own_origin: str) -> bool:
        """Whether pages of this web origin may call: it is listed, or the gateway's own."""
        return origin in self._config.allowed_origins or origin == own_origin != ""

    def unknown_path(self, address: str, now: float) -> Refused:
        """Return how to refuse a request for a path that does not exist. It counts as a guess."""
        return UnknownPath() if self._may_try(address, None, now) else TooManyAttempts()

    def _may_try(self, address: str, caller: Credential | None, now: float) -> bool:
        """Count an attempt. Return whether the limits allow it."""
        per_minute = self._config.max_attempts_per_minute
        if caller is None:
            return self._by_address.take((network_of(address), ""), per_minute, now)
        own = caller.limits.attempts_per_minute
        if own is not None:
            return self._by_token.take((caller.id,), own, now)
        from_here = self._by_address.take((network_of(address), caller.id), per_minute, now)
        return from_here and self._by_token.take(
            (caller.id,), TOKEN_ATTEMPTS_RATIO * per_minute, now
        )


class _Buckets:
    """The rate limits of one kind. Of more than `most`, the least recently used is dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buckets: OrderedDict[tuple[object, ...], TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: tuple[str, ...], per_minute: int, now: float) -> bool:
        """Count an attempt. Return whether it is within `per_minute`, on average and at once."""
        limit = (*key, per_minute)  # a token whose limit was changed begins anew
        bucket = self._buckets.pop(limit, None) or TokenBucket(per_minute / 60, per_minute)
        self._buckets[limit] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket.take(1, now)


def _not_open(state: GatewayState, for_acceptance: bool) -> Refused | None:
    """Return why the appliance lets nobody in, or only the acceptance test; or None."""
    if state.draining:
        return Draining()
    if state.closed and not for_acceptance:
        return Closed()
    return NotReady(waiting_for=state.waiting_for) if state.waiting_for else None
