"""docs/engine-link.md matches the code of appliance/link."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from appliance.errors import catalogue
from appliance.link import client, engine, protocol, server

PAGE = Path("docs/engine-link.md").read_text(encoding="utf-8")
TO_ENGINE: tuple[type[protocol.LinkMessage], ...] = typing.get_args(protocol.ToEngine)
TO_GATEWAY: tuple[type[protocol.LinkMessage], ...] = typing.get_args(protocol.ToGateway)
TYPES = (
    engine.ChatMessage,
    engine.Tool,
    engine.GenerateRequest,
    engine.ToolCall,
    engine.Result,
)


def kind(message: type[protocol.LinkMessage]) -> str:
    return str(message.model_fields["type"].default)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> dict[str, set[str]]:
    """Parse a table. Return the field names in column 2, by column 1."""
    lines = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"\w+", fields)) for name, fields in lines}


@pytest.mark.parametrize("message", (*TO_ENGINE, *TO_GATEWAY), ids=kind)
def test_every_message_is_documented_with_its_fields(message: type[protocol.LinkMessage]) -> None:
    table = rows(section("Gateway to engine" if message in TO_ENGINE else "Engine to gateway"))
    assert table[kind(message)] == set(message.model_fields) - {"type"}


def test_no_unknown_message_is_documented() -> None:
    described = rows(section("Gateway to engine")) | rows(section("Engine to gateway"))
    assert set(described) == {kind(message) for message in (*TO_ENGINE, *TO_GATEWAY)}


def test_every_type_is_documented_with_its_fields() -> None:
    assert rows(section("Types")) == {
        kind.__name__: {field.name for field in dataclasses.fields(kind)} for kind in TYPES
    }


@pytest.mark.parametrize(
    "bound",
    [
        protocol.MAX_MESSAGE_BYTES,
        protocol.MAX_AUDIO_BYTES,
        protocol.MAX_PHRASE_CHARS,
        server.MAX_REQUESTS,
        server.MAX_UTTERANCES,
        engine.MAX_TEXT_CHARS,
        engine.MAX_CONVERSATION_MESSAGES,
        engine.MAX_REPLY_TOKENS,
        engine.MAX_TOOLS,
        engine.MAX_TOOL_DESCRIPTION_CHARS,
        engine.MAX_TOOL_PARAMETERS_CHARS,
    ],
)
def test_every_limit_is_documented(bound: int) -> None:
    assert re.search(rf"\b{bound}\b", section("Bounds").replace(",", ""))


def test_documented_reasons_are_in_the_catalogue() -> None:
    for reason in ("bad_request", "engine_busy", "engine_gone", "not_ready"):
        assert reason in PAGE
        assert reason in catalogue()


def test_version_and_timeouts_are_documented() -> None:
    page = PAGE.replace("\n", " ")
    assert f"Version: {protocol.VERSION}." in page
    stall_seconds = client.EngineClient("x", Path("x"))._stall_seconds
    assert f"for {stall_seconds:g} seconds" in page
    assert f"up to {server.DRAIN_SECONDS:g} seconds" in page


def test_page_is_at_most_two_screens_long() -> None:
    assert len(PAGE.splitlines()) <= 120
