"""Texts that a stranger sends: tokens, tickets, cookies and headers. No I/O."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access import signed, token
from appliance.access.presented import (
    COOKIE_NAME,
    NOTHING,
    Presented,
    cookie_values,
    own_origin,
    presented,
)
from appliance.access.signed import (
    CLOCK_DIFFERENCE_SECONDS,
    COOKIE,
    MARK_BYTES,
    TICKET,
    Pass,
    Tickets,
)
from appliance.access.usage import DailyUse

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ID = "0123456789ab"
NOW = 1_764_367_200
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126))


def ticket(kind: str = TICKET, token_id: str = ID, expires: int = NOW + 30) -> str:
    return signed.sign(kind, token_id, expires, secrets.token_bytes(signed.NONCE_BYTES), KEY)


def test_pass_is_valid_for_its_kind_its_key_and_its_time() -> None:
    found = signed.read(ticket())
    assert found is not None and found.token_id == ID
    assert found.is_valid(TICKET, KEY, NOW)
    assert not found.is_valid(COOKIE, KEY, NOW)
    assert not found.is_valid(TICKET, OTHER_KEY, NOW)
    assert not found.is_valid(TICKET, KEY, NOW + 30)


@given(st.data())
def test_changed_pass_is_never_valid(data: st.DataObject) -> None:
    text = ticket()
    position = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    changed = text[:position] + character + text[position + 1 :]
    found = signed.read(changed)
    assert changed == text or found is None or not found.is_valid(TICKET, KEY, NOW)


@given(printable | st.text())
def test_any_text_is_read_as_a_pass_or_not_at_all(text: str) -> None:
    found = signed.read(text)
    assert found is None or not found.is_valid(TICKET, KEY, NOW)


@given(printable | st.text())
def test_any_text_is_read_as_a_token_or_not_at_all(text: str) -> None:
    found = token.read_text(text)
    assert found is None or not found.is_of(KEY)


@given(st.binary(min_size=32, max_size=32))
def test_token_text_has_one_spelling(secret: bytes) -> None:
    text = token.write_text(KEY, ID, secret)
    assert token.read_text(text) == token.TokenText(ID, secret, token.tag_of(KEY, ID, secret))
    for change in (text + "=", text + "\n", " " + text, text.upper(), text.replace("va.", "VA.")):
        assert token.read_text(change) is None
    # 32 bytes leave two bits of the last character unused: another one must not mean the same.
    head, _, tag = text.rpartition(".")
    spellings = [f"{head[:-1]}{last}.{tag}" for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    valid = [s for s in spellings if (p := token.read_text(s)) is not None and p.is_of(KEY)]
    assert valid in ([], [text])


@given(st.lists(printable, max_size=3), st.lists(printable, max_size=3), st.lists(printable))
def test_any_headers_present_one_proof_or_nothing(
    authorization: list[str], tickets: list[str], cookies: list[str]
) -> None:
    found = presented(authorization, tickets, cookies)
    if len(authorization) + len(tickets) > 1:
        assert found == NOTHING
    if tickets and not authorization:
        assert found in (Presented("ticket", tickets[0]), NOTHING)


@pytest.mark.parametrize(
    ("authorization", "tickets", "cookies", "expected"),
    [
        ((), (), (), NOTHING),
        (("Bearer abc",), (), (), Presented("bearer", "abc")),
        (("bearer abc",), (), (), NOTHING),
        (("Basic abc",), (), (), NOTHING),
        (("Bearer a", "Bearer b"), (), (), NOTHING),
        (("Bearer a",), ("t",), (), NOTHING),
        ((), ("t", "t"), (), NOTHING),
        (("Bearer a",), (), (f"{COOKIE_NAME}=c",), Presented("bearer", "a")),
        (("Basic a",), (), (f"{COOKIE_NAME}=c",), NOTHING),
        ((), (), (f"x=1; {COOKIE_NAME}=c; y=2",), Presented("cookie", "c")),
        ((), (), (f"{COOKIE_NAME}=c; {COOKIE_NAME}=d",), NOTHING),
        ((), (), (f"{COOKIE_NAME}=c", f"{COOKIE_NAME}=d"), NOTHING),
        ((), (), (f"{COOKIE_NAME.lower()}=c",), NOTHING),
        ((), (), (COOKIE_NAME,), NOTHING),
        ((), (), ("a" * 9000 + f"; {COOKIE_NAME}=c",), NOTHING),
    ],
)
def test_one_proof_of_a_request_counts(
    authorization: tuple[str, ...],
    tickets: tuple[str, ...],
    cookies: tuple[str, ...],
    expected: Presented,
) -> None:
    assert presented(authorization, tickets, cookies) == expected


@given(printable)
def test_any_cookie_header_is_read(header: str) -> None:
    for value in cookie_values(header):
        assert f"{COOKIE_NAME}=" in header and value in header


@pytest.mark.parametrize(
    ("scheme", "hosts", "expected"),
    [
        ("wss", ["Appliance.example"], "https://appliance.example"),
        ("ws", ["127.0.0.1:8765"], "http://127.0.0.1:8765"),
        ("https", [], ""),
        ("https", ["a", "b"], ""),
        ("https", [""], ""),
    ],
)
def test_own_origin_is_scheme_and_host_of_the_request(
    scheme: str, hosts: list[str], expected: str
) -> None:
    assert own_origin(scheme, hosts) == expected


def issued_by(tickets: Tickets, issued: int) -> Pass:
    """Return a ticket that a process issued at this time by its own clock."""
    nonce = tickets.nonce(secrets.token_bytes(signed.NONCE_BYTES - MARK_BYTES))
    found = signed.read(signed.sign(TICKET, ID, issued + signed.TICKET_SECONDS, nonce, KEY))
    assert found is not None
    return found


def process(mark: bytes = b"m", started: float = NOW, most: int = 2) -> Tickets:
    return Tickets(mark * MARK_BYTES, started, most)


def test_used_tickets_are_remembered_until_they_expire_and_in_bounded_number() -> None:
    tickets = process()
    first, second = (issued_by(tickets, NOW + n) for n in range(2))
    tickets.add(first)
    assert not tickets.may_be_used(first) and tickets.may_be_used(second)
    tickets.add(second)
    assert not tickets.has_room(NOW)
    assert tickets.has_room(NOW + 30)
    assert tickets.may_be_used(first) and not tickets.may_be_used(second)


def test_process_takes_own_tickets_at_once_and_those_of_its_predecessor_never() -> None:
    before, now = process(b"a", NOW - 10), process(b"b", NOW)
    assert now.may_be_used(issued_by(now, NOW))
    for issued in (NOW - 1, NOW, NOW + CLOCK_DIFFERENCE_SECONDS):  # the clock was set back
        assert not now.may_be_used(issued_by(before, issued))


def test_ticket_of_another_host_is_taken_if_it_is_newer_than_this_process() -> None:
    other, now = process(b"a", NOW - 1000), process(b"b", NOW)
    assert not now.may_be_used(issued_by(other, NOW - 1))
    late = issued_by(other, NOW + CLOCK_DIFFERENCE_SECONDS + 1)
    assert now.may_be_used(late)
    now.add(late)
    assert not now.may_be_used(late)


def test_use_is_counted_for_each_token_and_day() -> None:
    use = DailyUse()
    midnight = 20_000 * 86_400.0
    use.add("a", 50.0, midnight - 10)
    use.add("a", 20.0, midnight - 1)
    use.add("b", 1.0, midnight - 1)
    assert use.all(midnight - 1) == {"a": 70.0, "b": 1.0}
    assert use.seconds("a", midnight) == 0.0
