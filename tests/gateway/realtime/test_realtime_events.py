"""The events of Realtime clients: what is decoded, and what is refused in words."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.gateway.realtime import client_events as events
from appliance.gateway.realtime import server_events
from appliance.gateway.realtime.client_events import ClientEvent, RefusedEvent, decode
from appliance.gateway.realtime.config import SessionConfig

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
FIELDS = sorted({name for allowed, _ in events.DECODERS.values() for name in allowed})
ODD = [None, True, 7, -1, 1 << 31, 0.5, "", "A", "\xe9", "\ud800", [], [7], {}, {"x": 7}]


def message(**item: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [item]}


def refusal(event: dict[str, Any]) -> RefusedEvent:
    with pytest.raises(RefusedEvent) as refused:
        decode(json.dumps(event))
    return refused.value


def test_typed_text_and_audio_are_decoded() -> None:
    pcm = bytes(range(20))
    content = [
        {"type": "input_text", "text": "Hello"},
        {"type": "input_audio", "audio": base64.b64encode(pcm).decode()},
    ]
    item = {"type": "message", "role": "user", "id": "mine", "content": content}
    event = decode(json.dumps({"type": "conversation.item.create", "event_id": "e1", "item": item}))
    assert event == events.ItemCreate("mine", "Hello", pcm, None, event_id="e1")


def test_audio_is_decoded() -> None:
    event = decode('{"type": "input_audio_buffer.append", "audio": "AAEC/w=="}')
    assert event == events.AudioAppend(b"\x00\x01\x02\xff")


@pytest.mark.parametrize(
    ("event", "reason", "words", "param"),
    [
        ({"type": "session.delete"}, "unknown_event", "'session.delete'", "type"),
        ({}, "invalid_event", "no type", "type"),
        ({"type": ["session.update"]}, "invalid_event", "no type", "type"),
        ({"type": "response.cancel", "why": 1}, "invalid_event", "'why' is not known", "why"),
        (
            {"type": "input_audio_buffer.append", "audio": "!!!!"},
            *("invalid_event", "not base64", "audio"),
        ),
        ({"type": "input_audio_buffer.append"}, "invalid_event", "missing", "audio"),
        (
            {"type": "conversation.item.create", "item": message(type="input_text", text=" ")},
            *("invalid_event", "text is missing", "item.content[0].text"),
        ),
        (
            {"type": "conversation.item.create", "item": message(type="input_image")},
            *("not_supported", "'input_image'", "item.content[0]"),
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "function_call"}},
            *("not_supported", "'function_call'", "item"),
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "function_call_output"}},
            *("invalid_event", "not text", "item.output"),
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "output": "x"},
            },
            *("invalid_event", "call_id is missing", "item.call_id"),
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "output": "x" * 4001, "call_id": "c"},
            },
            *("invalid_event", "4000", "item.output"),
        ),
        (
            {"type": "conversation.item.create", "item": message() | {"role": "system"}},
            *("not_supported", "'system'", "item"),
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": -1},
            *("invalid_event", "content_index", "content_index"),
        ),
        (
            {"type": "response.create", "response": {"instructions": "Say hello."}},
            *("not_supported", "'instructions'", "response.instructions"),
        ),
        (
            {"type": "response.create", "response": {"conversation": "none"}},
            *("not_supported", "'conversation'", "response.conversation"),
        ),
    ],
)
def test_event_that_is_not_supported_is_refused_with_a_reason(
    event: dict[str, Any], reason: str, words: str, param: str
) -> None:
    refused = refusal(event | {"event_id": "mine"})
    assert refused.problem.reason == reason
    assert words in str(refused.problem)
    assert refused.param == param
    assert refused.event_id == "mine"


def test_half_a_sample_is_refused() -> None:
    audio = base64.b64encode(bytes(3)).decode()
    refused = refusal({"type": "input_audio_buffer.append", "audio": audio})
    assert "half a sample" in str(refused.problem)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', "[" * 60_000, '{"a":' * 20_000])
def test_value_that_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(RefusedEvent):
        decode(text)


def test_a_lone_surrogate_is_refused() -> None:
    item = message(type="input_text", text="\ud800")
    assert "Unicode" in str(refusal({"type": "conversation.item.create", "item": item}).problem)


def create(*parts: Any, **more: Any) -> dict[str, Any]:
    item = message() | {"content": list(parts)}
    return {"type": "conversation.item.create", "item": item} | more


def text_part(length: int) -> dict[str, Any]:
    return {"type": "input_text", "text": "x" * length}


def response(metadata: dict[str, str]) -> dict[str, Any]:
    return {"type": "response.create", "response": {"metadata": metadata}}


def truncate(content_index: Any, audio_end_ms: Any) -> dict[str, Any]:
    numbers = {"content_index": content_index, "audio_end_ms": audio_end_ms}
    return {"type": "conversation.item.truncate", "item_id": "i"} | numbers


@pytest.mark.parametrize(
    ("event_of", "largest", "param"),
    [
        (lambda size: create(text_part(size)), 4000, "item.content[0].text"),
        (lambda size: create(text_part(2000), text_part(size)), 1999, "item.content"),
        (lambda size: create(*[text_part(1)] * size), 16, "item.content"),
        (lambda size: create(text_part(1), previous_item_id="x" * size), 100, "previous_item_id"),
        (
            lambda size: {"type": "conversation.item.delete", "item_id": "x" * size},
            *(100, "item_id"),
        ),
        (lambda size: response({str(n): "" for n in range(size)}), 16, "response.metadata"),
        (lambda size: response({"x": "x" * size}), 512, "response.metadata"),
        (lambda size: response({"x" * size: ""}), 64, "response.metadata"),
        (lambda size: truncate(size, 0), 2**31 - 1, "content_index"),
        (lambda size: truncate(0, size), 2**31 - 1, "audio_end_ms"),
    ],
    ids=[
        *("text", "text of all parts", "parts", "previous item", "id", "metadata"),
        *("value of metadata", "name of metadata", "content index", "milliseconds"),
    ],
)
def test_what_is_larger_than_its_limit_is_refused(
    event_of: Callable[[int], dict[str, Any]], largest: int, param: str
) -> None:
    assert isinstance(decode(json.dumps(event_of(largest))), ClientEvent)
    assert refusal(event_of(largest + 1)).param == param


def test_an_id_that_is_not_printable_is_refused() -> None:
    event = {"type": "conversation.item.retrieve", "item_id": "a\n\x1b[31mb"}
    assert "not printable" in str(refusal(event).problem)


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "replace")))
@example("[]")
@example("[" * 100_000)
def test_no_text_breaks_the_decoder(text: str) -> None:
    try:
        assert isinstance(decode(text), ClientEvent)
    except RefusedEvent as refused:
        assert refused.problem.reason


def examine(event: dict[str, Any]) -> None:
    """Decode an event. If it is refused, the answer quotes little of it, and can be sent."""
    try:
        assert isinstance(decode(json.dumps(event)), ClientEvent)
    except RefusedEvent as refused:
        assert len(str(refused.problem)) < 500
        assert len(refused.param) < 500
        assert len(refused.event_id) <= 100
        answer = server_events.error(str(refused.problem), refused.problem.reason, refused.param)
        assert json.loads(server_events.encode(answer, 1, beta=False) or "") == answer | {
            "event_id": "event_1"
        }


@given(
    st.sampled_from(sorted(events.DECODERS)),
    st.dictionaries(st.sampled_from([*FIELDS, "event_id", "x"]), JSON),
)
@example("x" * 10_000, {})
@example("response.cancel", {"x" * 10_000: 1})
@example("response.cancel", {"event_id": "x" * 10_000, "why": 1})
def test_no_event_breaks_the_decoder(kind: str, fields: dict[str, Any]) -> None:
    examine({**fields, "type": kind})


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_no_odd_value_breaks_the_decoder(value: Any) -> None:
    """Each of these values in each place of each event."""
    for kind, (names, _) in events.DECODERS.items():
        for name in names:
            examine({"type": kind, name: value})
    for name in ("type", "role", "content", "id"):
        item = message(type="input_text", text="Hello") | {name: value}
        examine({"type": "conversation.item.create", "item": item})
    for part in (
        *(value, {"type": value}),
        *({"type": f"input_{kind}", kind: value} for kind in ("text", "audio")),
    ):
        examine(create(part))
    output = {"type": "function_call_output", "output": "x", "call_id": "c"}
    for name in ("output", "call_id", "id"):
        examine({"type": "conversation.item.create", "item": output | {name: value}})
    for name in ("metadata", "conversation", "output_modalities", "modalities", "x"):
        examine({"type": "response.create", "response": {name: value}})
    examine(truncate(value, 0))
    examine(truncate(0, value))


CONFIG = SessionConfig("m", "af_heart", transcripts=True, client_settings=False)


WHERE = ["session", "input", "output", "turn_detection", "tools", "tool", "tool_choice"]


@given(JSON, st.sampled_from(WHERE), st.booleans())
def test_no_update_breaks_the_session(value: Any, where: str, client_settings: bool) -> None:
    updates: dict[str, Any] = {
        "session": value if isinstance(value, dict) else {"audio": value},
        "input": {"audio": {"input": value}},
        "output": {"audio": {"output": value}},
        "turn_detection": {"audio": {"input": {"turn_detection": value}}},
        "tools": {"tools": value},
        "tool": {"tools": [{"type": "function", "name": "f", "parameters": value}]},
        "tool_choice": {"tool_choice": value},
    }
    config = dataclasses.replace(CONFIG, client_settings=client_settings)
    try:
        config = config.updated(updates[where])
    except RefusedEvent:
        return
    json.dumps(config.session("s", 1, beta=False))


def test_turn_detection_can_be_switched_off_and_on() -> None:
    manual = CONFIG.updated({"audio": {"input": {"turn_detection": None}}})
    assert manual.manual
    assert manual.session("s", 1, False)["audio"]["input"]["turn_detection"] is None
    assert not manual.updated({"turn_detection": {"type": "semantic_vad"}}).manual
    assert manual.updated({"type": "realtime"}) == manual


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"type": "transcription"}, "'transcription'"),
        ({"output_modalities": ["text"]}, "without audio"),
        ({"modalities": ["text"]}, "without audio"),
        ({"input_audio_format": "g711_ulaw"}, "24000 Hz"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "24000 Hz"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "24000 Hz"),
        ({"turn_detection": {"type": "server_vad", "create_response": False}}, "create_response"),
        ({"turn_detection": {"type": "loud"}}, "'loud'"),
        ({"nonsense": 1}, "'nonsense' is not known"),
    ],
)
def test_updates_that_would_break_the_call_are_refused(update: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedEvent) as refused:
        CONFIG.updated(update)
    assert words in str(refused.value)


def test_what_is_the_operators_is_shown_not_refused() -> None:
    update = {
        "type": "realtime",
        "instructions": "You are a pirate.",
        "tools": [{"type": "function", "name": "f"}],
        "audio": {"output": {"voice": "marin", "speed": 1.2}},
    }
    config = CONFIG.updated(update)
    shown = config.session("s", 1, beta=False)
    assert "pirate" not in shown["instructions"]
    assert "operator" in shown["instructions"]
    assert shown["tools"] == []
    assert shown["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "af_heart",
        "speed": 1.0,
    }


def test_instructions_of_the_client_count_if_the_operator_allows_them() -> None:
    config = SessionConfig("m", "v", transcripts=True, client_settings=True)
    config = config.updated({"instructions": " You are a pirate. "})
    assert config.instructions == "You are a pirate."
    assert config.session("s", 1, beta=True)["instructions"] == "You are a pirate."
    with pytest.raises(RefusedEvent):
        config.updated({"instructions": "x" * 5000})
