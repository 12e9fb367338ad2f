"""Admission: which connection attempts are refused, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from appliance.access.credentials import Credential
from appliance.access.presented import Kind
from appliance.access.token import Limits
from appliance.errors import Refused, WrongTicket
from appliance.gateway.http import admission as admission_module
from appliance.gateway.http.admission import (
    MAX_ADDRESSES,
    TOKEN_ATTEMPTS_RATIO,
    Admission,
    ConnectionAttempt,
    GatewayState,
)
from appliance.settings import GatewayConfig
from appliance.web.limits import NAME_CHARS

IDLE = GatewayState(sessions=0)
ADDRESS = "192.0.2.1"
OWN = "https://appliance.example"
SHARED = Credential("shared", "shared", b"key", b"text")
OTHER = Credential("0123456789ab", "ward-3", b"other key", b"hash")


def admission(**settings: Any) -> Admission:
    return Admission(GatewayConfig(**settings))


def refusal(
    policy: Admission,
    caller: Credential | None = SHARED,
    *,
    address: str = ADDRESS,
    origin: str = "",
    kind: Kind = "bearer",
    state: GatewayState = IDLE,
    now: float = 0.0,
    unix_time: float = 0.0,
) -> Refused | None:
    attempt = ConnectionAttempt(address, origin, OWN, kind, caller)
    return policy.refusal(attempt, state, now, unix_time)


def reason(*args: Any, **kwargs: Any) -> str | None:
    refused = refusal(*args, **kwargs)
    return refused.reason if refused else None


def test_valid_token_is_admitted() -> None:
    assert refusal(admission()) is None


def test_attempt_without_a_token_is_refused_for_its_own_reason() -> None:
    assert reason(admission(), None) == "wrong_token"
    attempt = ConnectionAttempt(ADDRESS, kind="ticket", problem=WrongTicket())
    refused = admission().refusal(attempt, IDLE, 0.0, 0.0)
    assert refused is not None and refused.reason == "wrong_ticket"


def test_unauthorized_attempt_does_not_reveal_the_state() -> None:
    busy = GatewayState(sessions=99, waiting_for="tts", draining=True)
    assert reason(admission(), None, origin="https://x", state=busy) == "wrong_token"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (GatewayState(sessions=2), "full"),
        (GatewayState(sessions=1), None),
        (GatewayState(sessions=0, waiting_for="llm and tts"), "not_ready"),
        (GatewayState(sessions=2, waiting_for="tts", draining=True), "draining"),
    ],
)
def test_gateway_state_decides_authorized_attempts(
    state: GatewayState, expected: str | None
) -> None:
    refused = refusal(admission(max_sessions=2), state=state)
    assert (refused.reason if refused else None) == expected
    if refused is not None:
        assert refused.http_status == 503
        assert refused.retry_after_seconds


def test_refusal_names_the_engine_that_is_not_ready() -> None:
    assert "tts" in str(refusal(admission(), state=GatewayState(0, waiting_for="tts")))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("", None),  # not a browser
        ("https://kiosk.example", None),
        ("https://kiosk.example.evil.example", "wrong_origin"),
        ("http://kiosk.example", "wrong_origin"),
        ("null", "wrong_origin"),
    ],
)
def test_only_listed_browser_origins_are_admitted(origin: str, expected: str | None) -> None:
    policy = admission(allowed_origins=("https://kiosk.example",))
    assert reason(policy, origin=origin) == expected


def test_attempts_are_limited_per_address_and_allowed_again_later() -> None:
    policy = admission(max_attempts_per_minute=6)
    for _ in range(6):
        assert reason(policy, None) == "wrong_token"
    assert reason(policy, None) == "too_many_attempts"
    assert reason(policy, None, address="192.0.2.2") == "wrong_token"
    assert reason(policy, None, now=5.0) == "too_many_attempts"
    assert reason(policy, None, now=15.1) == "wrong_token"


def test_right_token_is_not_locked_out_by_the_guesses_of_others_at_its_address() -> None:
    policy = admission(max_attempts_per_minute=6)
    for _ in range(100):
        assert reason(policy, None) in ("wrong_token", "too_many_attempts")
    assert reason(policy) is None


def test_attempts_with_the_right_token_are_limited_for_each_token() -> None:
    policy = admission(max_attempts_per_minute=6)
    assert [reason(policy) for _ in range(7)] == [None] * 6 + ["too_many_attempts"]
    assert reason(policy, OTHER) is None
    assert reason(policy, None) == "wrong_token"


def test_requests_for_unknown_paths_count_as_guesses() -> None:
    policy = admission(max_attempts_per_minute=2)
    refused = [policy.unknown_path(ADDRESS, 0.0).reason for _ in range(3)]
    assert refused == ["unknown_path"] * 2 + ["too_many_attempts"]
    assert reason(policy, None) == "too_many_attempts"


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),  # one network of a customer
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("proxy" * 1000, "proxy" * 1001, True),
    ],
)
def test_addresses_of_one_client_are_counted_together(
    first: str, second: str, together: bool
) -> None:
    policy = admission(max_attempts_per_minute=1)
    assert reason(policy, None, address=first) == "wrong_token"
    expected = "too_many_attempts" if together else "wrong_token"
    assert reason(policy, None, address=second) == expected


def test_sessions_of_one_token_are_limited() -> None:
    policy = admission(max_sessions=4, max_sessions_per_token=2)
    state = GatewayState(sessions=2, sessions_by_token={"shared": 2})
    assert reason(policy, state=state) == "token_full"
    assert reason(policy, OTHER, state=state) is None


def test_number_of_remembered_addresses_is_bounded() -> None:
    policy = admission()
    for number in range(MAX_ADDRESSES + 500):
        refusal(policy, address=str(number))
    assert len(policy._by_address) == MAX_ADDRESSES


def test_number_of_remembered_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "MAX_TOKENS", 3)
    policy = admission()
    for number in range(5):
        refusal(policy, dataclasses.replace(OTHER, id=str(number)))
    assert len(policy._by_token) == 3


def test_long_names_of_clients_are_cut() -> None:
    """A trusted proxy may send a name instead of an address: it must not fill the memory."""
    policy = admission(max_attempts_per_minute=1)
    names = ["x" * NAME_CHARS + tail for tail in ("a", "b")]
    answers = [reason(policy, None, address=name) for name in names]
    assert answers == ["wrong_token", "too_many_attempts"]


@pytest.mark.parametrize(
    ("kind", "origin", "expected"),
    [
        ("cookie", OWN, None),
        ("cookie", "", "wrong_origin"),  # no browser that has a cookie omits it
        ("cookie", "https://kiosk.example", "wrong_origin"),  # listed, but not the own one
        ("cookie", "null", "wrong_origin"),
        ("cookie", "http://appliance.example", "wrong_origin"),
        ("cookie", f"{OWN}:8443", "wrong_origin"),
        ("ticket", OWN, None),
        ("ticket", "", None),
        ("ticket", "https://kiosk.example", None),
        ("ticket", "https://evil.example", "wrong_origin"),
        ("bearer", OWN, None),
    ],
)
def test_cookie_counts_only_for_own_pages(kind: Kind, origin: str, expected: str | None) -> None:
    policy = admission(allowed_origins=("https://kiosk.example",))
    assert reason(policy, kind=kind, origin=origin) == expected


def test_request_without_a_known_host_has_no_own_origin() -> None:
    attempt = ConnectionAttempt(ADDRESS, origin="", own_origin="", kind="cookie", caller=SHARED)
    refused = admission().refusal(attempt, IDLE, 0.0, 0.0)
    assert refused is not None and refused.reason == "wrong_origin"


def test_expired_token_is_refused() -> None:
    caller = dataclasses.replace(OTHER, expires=1000)
    assert reason(admission(), caller, unix_time=999.9) is None
    assert reason(admission(), caller, unix_time=1000.0) == "expired_token"


def test_limits_of_one_token_do_not_concern_others() -> None:
    caller = dataclasses.replace(OTHER, limits=Limits(calls=1))
    state = GatewayState(sessions=1, sessions_by_token={caller.id: 1})
    policy = admission(max_sessions=4)
    assert reason(policy, caller, state=state) == "token_full"
    assert reason(policy, state=state) is None


def test_attempts_of_one_token_can_be_limited() -> None:
    caller = dataclasses.replace(OTHER, limits=Limits(attempts_per_minute=2))
    policy = admission()
    assert [reason(policy, caller) for _ in range(3)] == [None, None, "too_many_attempts"]
    assert reason(policy) is None


def test_attempts_of_one_token_are_limited_over_all_addresses() -> None:
    policy = admission(max_attempts_per_minute=2)
    for number in range(TOKEN_ATTEMPTS_RATIO):
        assert [reason(policy, address=f"192.0.2.{number}") for _ in range(2)] == [None, None]
    assert reason(policy, address="192.0.2.99") == "too_many_attempts"
    assert reason(policy, OTHER, address="192.0.2.99") is None
    assert reason(policy, None, address="192.0.2.99") == "wrong_token"
    assert reason(policy, address="192.0.2.99", now=30.0) is None


def test_strangers_cannot_push_the_count_of_a_token_out_of_memory() -> None:
    caller = dataclasses.replace(OTHER, limits=Limits(attempts_per_minute=1))
    policy = admission()
    assert reason(policy, caller) is None
    for number in range(MAX_ADDRESSES + 1):
        refusal(policy, None, address=str(number))
    assert reason(policy, caller) == "too_many_attempts"


@pytest.mark.parametrize(
    ("caller", "places", "expected"),
    [
        (SHARED, 4, 4),
        (OTHER, 4, 3),
        (OTHER, 2, 1),
        (OTHER, 1, 1),
        (dataclasses.replace(OTHER, limits=Limits(calls=4)), 4, 4),
        (dataclasses.replace(OTHER, limits=Limits(calls=2)), 4, 2),
    ],
)
def test_named_token_leaves_one_place_unless_its_own_limit_is_set(
    caller: Credential, places: int, expected: int
) -> None:
    policy = admission(max_sessions=places)
    states = [GatewayState(n, sessions_by_token={caller.id: n}) for n in range(places)]
    admitted = [state for state in states if reason(policy, caller, state=state) is None]
    assert len(admitted) == expected


def test_minutes_of_a_day_are_limited() -> None:
    caller = dataclasses.replace(OTHER, limits=Limits(minutes_per_day=10))
    policy = admission()
    almost = GatewayState(0, seconds_by_token={caller.id: 599.0})
    assert reason(policy, caller, state=almost) is None
    used = GatewayState(0, seconds_by_token={caller.id: 600.0, "shared": 9999.0})
    assert reason(policy, caller, state=used) == "minutes_used"
    assert reason(policy, state=used) is None
