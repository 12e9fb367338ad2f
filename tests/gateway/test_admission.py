"""Who is let in."""

from __future__ import annotations

import pytest

from appliance.errors import Refused
from appliance.gateway.admission import MAX_ADDRESSES, Admission, Attempt, House
from appliance.settings import GatewayConfig

EMPTY = House(sessions=0)
RIGHT = "Bearer a-token-of-some-length"


def admission(**knobs: object) -> Admission:
    return Admission(GatewayConfig(**knobs), "a-token-of-some-length")  # type: ignore[arg-type]


def reason(refusal: Refused | None) -> str | None:
    return refusal.reason if refusal else None


def test_the_right_token_opens_the_door() -> None:
    assert admission().refusal(Attempt("1.2.3.4", RIGHT), EMPTY, 0.0) is None


@pytest.mark.parametrize(
    "given", ["", "Bearer", RIGHT + "x", RIGHT[:-1], RIGHT.lower(), "Bearer ☃"]
)
def test_any_other_token_does_not(given: str) -> None:
    assert reason(admission().refusal(Attempt("", given), EMPTY, 0.0)) == "wrong_token"


def test_who_has_no_token_learns_nothing_of_the_house() -> None:
    busy = House(sessions=99, waiting_for="tts", draining=True)
    assert (
        reason(admission().refusal(Attempt("", "wrong", "https://x"), busy, 0.0)) == "wrong_token"
    )


@pytest.mark.parametrize(
    ("house", "expected"),
    [
        (House(sessions=2), "full"),
        (House(sessions=1), None),
        (House(sessions=0, waiting_for="llm and tts"), "not_ready"),
        (House(sessions=2, waiting_for="tts", draining=True), "draining"),
    ],
)
def test_the_house_decides_on_who_may_come_in(house: House, expected: str | None) -> None:
    refusal = admission(max_sessions=2).refusal(Attempt("", RIGHT), house, 0.0)
    assert reason(refusal) == expected
    if refusal is not None:
        assert refusal.http_status == 503
        assert refusal.retry_after_seconds


def test_what_is_not_ready_is_named() -> None:
    refusal = admission().refusal(Attempt("", RIGHT), House(0, "tts"), 0.0)
    assert "tts" in str(refusal)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("", None),  # a program
        ("https://kiosk.example", None),
        ("https://kiosk.example.evil.example", "wrong_origin"),
        ("http://kiosk.example", "wrong_origin"),
        ("null", "wrong_origin"),
    ],
)
def test_pages_get_in_from_listed_origins_only(origin: str, expected: str | None) -> None:
    door = admission(allowed_origins=("https://kiosk.example",))
    assert reason(door.refusal(Attempt("", RIGHT, origin), EMPTY, 0.0)) == expected


def test_guessing_is_slowed_down_by_address_and_forgiven_with_time() -> None:
    door = admission(max_attempts_per_minute=6)
    for _ in range(6):
        assert reason(door.refusal(Attempt("1.1.1.1", "guess"), EMPTY, 0.0)) == "wrong_token"
    assert reason(door.refusal(Attempt("1.1.1.1", RIGHT), EMPTY, 0.0)) == "too_many_attempts"
    assert door.refusal(Attempt("2.2.2.2", RIGHT), EMPTY, 0.0) is None
    assert reason(door.refusal(Attempt("1.1.1.1", RIGHT), EMPTY, 5.0)) == "too_many_attempts"
    assert door.refusal(Attempt("1.1.1.1", RIGHT), EMPTY, 15.1) is None


def test_no_number_of_addresses_fills_the_memory() -> None:
    door = admission()
    for number in range(MAX_ADDRESSES + 500):
        door.refusal(Attempt(str(number)), EMPTY, 0.0)
    assert len(door._attempts) == MAX_ADDRESSES
