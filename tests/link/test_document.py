"""docs/engine-link.md says what appliance/link does."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from appliance.errors import catalogue
from appliance.link import client, server
from appliance.link import protocol as p

PAGE = Path("docs/engine-link.md").read_text(encoding="utf-8")
MESSAGES: list[type[p.Message]] = [*typing.get_args(p.ToEngine), *typing.get_args(p.ToGateway)]


def kind(message: type[p.Message]) -> str:
    return str(message.model_fields["type"].default)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> dict[str, set[str]]:
    """The fields by message of a table whose first columns are the message and its fields."""
    found = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"\w+", fields)) for name, fields in found}


@pytest.mark.parametrize("message", MESSAGES, ids=kind)
def test_every_message_is_described_with_its_fields(message: type[p.Message]) -> None:
    to_engine = message in typing.get_args(p.ToEngine)
    table = rows(section("Gateway to engine" if to_engine else "Engine to gateway"))
    assert table[kind(message)] == set(message.model_fields) - {"type"}


def test_no_message_is_described_that_does_not_exist() -> None:
    described = rows(section("Gateway to engine")) | rows(section("Engine to gateway"))
    assert set(described) == {kind(message) for message in MESSAGES}


def test_the_bounds_are_those_of_the_code() -> None:
    bounds = section("Bounds").replace(",", "")
    for number in (
        p.MAX_MESSAGE_BYTES, p.MAX_AUDIO_BYTES, server.MAX_REQUESTS, server.MAX_UTTERANCES,
    ):  # fmt: skip
        assert re.search(rf"\b{number}\b", bounds), number
    for message, field in ((p.Token, "text"), (p.Speak, "text"), (p.Generate, "conversation")):
        limits = [limit.max_length for limit in lengths(message, field)]
        assert any(re.search(rf"\b{limit}\b", bounds) for limit in limits), (message, limits)


def lengths(message: type[p.Message], field: str) -> list[typing.Any]:
    return [m for m in message.model_fields[field].metadata if hasattr(m, "max_length")]


def test_the_reasons_are_of_the_catalogue() -> None:
    for reason in ("bad_request", "engine_busy", "engine_gone", "not_ready"):
        assert reason in PAGE
        assert reason in catalogue()


def test_version_and_patience_are_those_of_the_code() -> None:
    assert f"Version: {p.VERSION}." in PAGE
    patience = client.EngineClient("x", Path("x"))._stall_seconds
    assert f"for {patience:g} seconds" in PAGE.replace("\n", " ")


def test_it_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 110
