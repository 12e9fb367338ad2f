"""The token store: what its file holds, and that nothing else is accepted."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access import store, token
from appliance.access.store import BadStore, NameTaken, NoSuchToken, Store
from appliance.access.token import Limits

NOW = 1_764_367_200


@pytest.fixture(scope="module")
def wards() -> tuple[Store, dict[str, str]]:
    """A store with two tokens, and their texts by name."""
    found, texts = store.new_store(secrets.token_bytes), {}
    limits = Limits(calls=2, attempts_per_minute=30, minutes_per_day=60)
    found, texts["ward-3"] = found.create(
        "ward-3", NOW, secrets.token_bytes, expires=NOW + 60, limits=limits
    )
    found, texts["kiosk"] = found.create("kiosk", NOW, secrets.token_bytes)
    return found, texts


def test_file_holds_what_was_created_and_no_secret(wards: tuple[Store, dict[str, str]]) -> None:
    found, texts = wards
    written = store.write(found)
    again = store.read(written)
    assert again == found
    ward = again.find("ward-3")
    assert ward is not None and ward.created == NOW and ward.expires == NOW + 60
    assert ward.limits == Limits(calls=2, attempts_per_minute=30, minutes_per_day=60)
    for text in texts.values():
        assert text.split(".")[2] not in written


def test_token_matches_its_own_hash_only(wards: tuple[Store, dict[str, str]]) -> None:
    found, texts = wards
    for name, text in texts.items():
        parts = token.read_text(text)
        assert parts is not None and parts.is_of(found.key)
        for other in found.tokens.values():
            assert other.secret.matches(parts.secret) == (other.name == name)


def test_token_of_another_store_has_a_wrong_tag(wards: tuple[Store, dict[str, str]]) -> None:
    _, texts = wards
    parts = token.read_text(texts["kiosk"])
    assert parts is not None and not parts.is_of(store.new_store(secrets.token_bytes).key)


def test_names_are_used_once_until_they_are_revoked(wards: tuple[Store, dict[str, str]]) -> None:
    found, _ = wards
    with pytest.raises(NameTaken):
        found.create("kiosk", NOW, secrets.token_bytes)
    with pytest.raises(NoSuchToken):
        found.revoke("ward-4")
    without = found.revoke("kiosk")
    assert without.find("kiosk") is None and without.find("ward-3") is not None
    again, _ = without.create("kiosk", NOW, secrets.token_bytes)
    assert again.find("kiosk") != found.find("kiosk")


@pytest.mark.parametrize("name", ["", "Ward", "ward 3", "-ward", "w" * 33, "wärd", "a\n", "shared"])
def test_names_that_are_not_safe_everywhere_are_refused(name: str) -> None:
    with pytest.raises(BadStore):
        store.new_store(secrets.token_bytes).create(name, NOW, secrets.token_bytes)


HEAD = json.dumps({"format": store.FORMAT, "key": token.encode(bytes(32))})
TOKEN: dict[str, Any] = {
    "id": "0123456789ab",
    "name": "ward-3",
    "created": NOW,
    "scrypt": {
        "log2_n": 14,
        "r": 8,
        "p": 1,
        "salt": token.encode(bytes(16)),
        "hash": token.encode(bytes(32)),
    },
}


def test_store_with_only_the_required_fields_is_read() -> None:
    assert store.read(f"{HEAD}\n{json.dumps(TOKEN)}\n").find("ward-3") is not None


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0123456789AB"},
        {"id": 1},
        {"name": "Ward"},
        {"created": True},
        {"created": 1.5},
        {"created": -1},
        {"expires": "tomorrow"},
        {"calls": 0},
        {"calls": 1001},
        {"minutes_per_day": "60"},
        {"scrypt": None},
        {"scrypt": TOKEN["scrypt"] | {"log2_n": 30}},
        {"scrypt": TOKEN["scrypt"] | {"log2_n": 4}},
        {"scrypt": TOKEN["scrypt"] | {"salt": ""}},
        {"scrypt": TOKEN["scrypt"] | {"hash": token.encode(bytes(31))}},
        {"admin": True},
    ],
)
def test_wrong_field_is_refused_with_its_line(change: dict[str, Any]) -> None:
    with pytest.raises(BadStore, match="line 2"):
        store.read(f"{HEAD}\n{json.dumps(TOKEN | change)}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "[]",
        "{",
        '{"format":"other","key":""}',
        json.dumps({"format": store.FORMAT, "key": token.encode(bytes(31))}),
        f"{HEAD}\n{json.dumps(TOKEN)}\n{json.dumps(TOKEN)}",
        f'{HEAD}\n{json.dumps(TOKEN)[:-1]}, "name": "other"}}',
        f"{HEAD}\n" + "[" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadStore):
        store.read(text)


def test_number_of_tokens_and_size_of_the_file_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"{HEAD}\n{json.dumps(TOKEN)}\n"
    full = store.read(text)
    monkeypatch.setattr(store, "MAX_TOKENS", 1)
    with pytest.raises(BadStore, match="1 tokens"):
        full.create("ward-4", 0, bytes)
    monkeypatch.setattr(store, "MAX_TOKENS", 0)
    with pytest.raises(BadStore, match="more than 0"):
        store.read(text)
    monkeypatch.undo()
    monkeypatch.setattr(store, "MAX_FILE_BYTES", len(text) - 1)
    with pytest.raises(BadStore, match="too large"):
        store.read(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
fields = st.dictionaries(
    st.sampled_from([*TOKEN, "expires", "calls", "minutes_per_day", "other"]), json_values
)


@given(st.text())
def test_any_text_is_a_store_or_is_refused(text: str) -> None:
    try:
        store.read(text)
    except BadStore:
        return
    pytest.fail("a random text cannot be a store")


@given(fields)
def test_any_change_of_a_token_is_read_back_or_refused(changed: dict[str, Any]) -> None:
    try:
        found = store.read(f"{HEAD}\n{json.dumps(TOKEN | changed)}")
    except BadStore:
        return
    assert store.read(store.write(found)) == found
