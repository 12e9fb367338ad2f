"""Admission: which connection attempts are refused, and why."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import Refused
from appliance.gateway.admission import MAX_ADDRESSES, Admission, ConnectionAttempt, GatewayState
from appliance.settings import GatewayConfig

IDLE = GatewayState(sessions=0)
AUTHORIZED = "Bearer a-token-of-some-length"
ADDRESS = "192.0.2.1"


def admission(**settings: Any) -> Admission:
    return Admission(GatewayConfig(**settings), "a-token-of-some-length")


def refusal(
    policy: Admission,
    authorization: str = AUTHORIZED,
    *,
    address: str = ADDRESS,
    origin: str = "",
    state: GatewayState = IDLE,
    now: float = 0.0,
) -> Refused | None:
    return policy.refusal(ConnectionAttempt(address, authorization, origin), state, now)


def reason(*args: Any, **kwargs: Any) -> str | None:
    refused = refusal(*args, **kwargs)
    return refused.reason if refused else None


def test_valid_token_is_admitted() -> None:
    assert refusal(admission()) is None


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", AUTHORIZED + "x", AUTHORIZED[:-1], AUTHORIZED.lower(), "Bearer ☃"],
)
def test_any_other_token_is_refused(authorization: str) -> None:
    assert reason(admission(), authorization) == "wrong_token"


def test_unauthorized_attempt_does_not_reveal_the_state() -> None:
    busy = GatewayState(sessions=99, waiting_for="tts", draining=True)
    assert reason(admission(), "wrong", origin="https://x", state=busy) == "wrong_token"


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
        assert reason(policy, "a guess") == "wrong_token"
    assert reason(policy) == "too_many_attempts"
    assert reason(policy, address="192.0.2.2") is None
    assert reason(policy, now=5.0) == "too_many_attempts"
    assert reason(policy, now=15.1) is None


def test_number_of_remembered_addresses_is_bounded() -> None:
    policy = admission()
    for number in range(MAX_ADDRESSES + 500):
        refusal(policy, address=str(number))
    assert len(policy._buckets) == MAX_ADDRESSES
