"""Decodes the events of an OpenAI Realtime client. No I/O.

Every field is checked. An unknown field is refused with a message, because a client that sends it
expects an effect. The names are those of the `openai` package, version 3.54.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import EventNotSupported, EventRefused, InvalidEvent, UnknownEvent
from appliance.gateway.generation.tool_result import MAX_RESULT_CHARS

MAX_TEXT_CHARS = 4_000  # of one item, as of typed text in wire.py
MAX_ID_CHARS = 100
MAX_TYPE_CHARS = 60  # of a name of the client that is quoted in an answer
MAX_PARTS = 16  # of the content of an item
MAX_METADATA = 16  # as of OpenAI's service


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event of the client. `event_id` is the client's own name of it, or ""."""

    event_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class SessionUpdate(ClientEvent):
    """Change settings of the session. `session` is checked by config.py."""

    session: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AudioAppend(ClientEvent):
    """Add 24 kHz mono int16 PCM to the input audio buffer."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class AudioCommit(ClientEvent):
    """Make a question of the input audio buffer."""


@dataclass(frozen=True, slots=True)
class AudioClear(ClientEvent):
    """Empty the input audio buffer."""


@dataclass(frozen=True, slots=True)
class ItemCreate(ClientEvent):
    """Add a message of the user. It has text, 24 kHz PCM, or both.

    after  the item that it follows; None: the last one
    """

    item_id: str
    text: str
    pcm: bytes
    after: str | None


@dataclass(frozen=True, slots=True)
class OutputCreate(ClientEvent):
    """Add the output of a function call. `item_id` and `after` as in ItemCreate."""

    item_id: str
    call_id: str
    output: str
    after: str | None


@dataclass(frozen=True, slots=True)
class ItemTruncate(ClientEvent):
    """The user heard only the first `audio_end_ms` of an item."""

    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class ItemRetrieve(ClientEvent):
    """Send an item again."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ItemDelete(ClientEvent):
    """Remove an item."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ResponseCreate(ClientEvent):
    """Answer what was not answered yet."""

    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class ResponseCancel(ClientEvent):
    """Stop the response in progress, or only the one with `response_id`, if it is not ""."""

    response_id: str


class RefusedEvent(Exception):
    """An event that is refused. `problem` says why, `param` names the field, if any."""

    def __init__(self, problem: EventRefused, event_id: str = "", param: str = "") -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.event_id = event_id
        self.param = param


def invalid(what: str, param: str = "") -> RefusedEvent:
    """Return the refusal of a field with a value that is not valid."""
    return RefusedEvent(InvalidEvent(what=what), param=param)


def not_supported(what: str, param: str = "") -> RefusedEvent:
    """Return the refusal of something that the appliance does not have."""
    return RefusedEvent(EventNotSupported(what=what), param=param)


def quoted(name: object) -> str:
    """Return a name of the client as it may be quoted in an answer."""
    text = name if isinstance(name, str) else type(name).__name__
    return repr("".join(char for char in text[:MAX_TYPE_CHARS] if char.isprintable()))


def decode(text: str) -> ClientEvent:
    """Return the event in a text message. Raises RefusedEvent."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("it is not JSON") from None
    if not isinstance(event, dict):
        raise invalid("it is not a JSON object")
    event_id = event.get("event_id")
    event_id = event_id[:MAX_ID_CHARS] if isinstance(event_id, str) else ""
    try:
        kind = event.get("type")
        if not isinstance(kind, str):
            raise invalid("it has no type", "type")
        if kind not in DECODERS:
            raise RefusedEvent(UnknownEvent(kind=quoted(kind)), param="type")
        allowed, build = DECODERS[kind]
        only(event, {"type", "event_id", *allowed})
        return build(event, event_id)
    except RefusedEvent as refused:
        refused.event_id = event_id
        raise


def only(fields: Mapping[str, Any], allowed: set[str], path: str = "") -> None:
    """Raise RefusedEvent if there is a field that is not known."""
    for name in fields:
        if name not in allowed:
            raise RefusedEvent(
                InvalidEvent(what=f"the field {quoted(name)} is not known"),
                param=path + quoted(name)[1:-1],
            )


def pcm_of(value: object, param: str) -> bytes:
    """Return the PCM in base64. Raises RefusedEvent."""
    if not isinstance(value, str):
        raise invalid("the audio is missing", param)
    try:
        pcm = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("the audio is not base64", param) from None
    if len(pcm) % 2:
        raise invalid("the audio ends with half a sample", param)
    return pcm


def _text_of(value: object, param: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise invalid("the text is missing", param)
    return _bounded(value, MAX_TEXT_CHARS, param)


def _bounded(text: str, max_chars: int, param: str) -> str:
    """Return the text. Raises RefusedEvent if it is too long, or not Unicode."""
    if len(text) > max_chars:
        raise invalid(f"the text is longer than {max_chars} characters", param)
    try:
        text.encode()  # JSON can contain a lone surrogate, which later steps cannot encode
    except UnicodeEncodeError:
        raise invalid("the text is not Unicode", param) from None
    return text


def _id_of(fields: Mapping[str, Any], name: str, path: str = "") -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"{name} is missing", path + name)
    if len(value) > MAX_ID_CHARS or not value.isprintable():
        raise invalid(f"{name} is too long, or not printable", path + name)
    return value


def _count_of(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise invalid(f"{name} is not a number of at least 0", name)
    return value


def _session_update(event: Mapping[str, Any], event_id: str) -> ClientEvent:
    session = event.get("session")
    if not isinstance(session, dict):
        raise invalid("session is missing", "session")
    return SessionUpdate(session, event_id=event_id)


def _append(event: Mapping[str, Any], event_id: str) -> ClientEvent:
    return AudioAppend(pcm_of(event.get("audio"), "audio"), event_id=event_id)


def _item_create(event: Mapping[str, Any], event_id: str) -> ClientEvent:
    item = event.get("item")
    if not isinstance(item, dict):
        raise invalid("item is missing", "item")
    after = None if event.get("previous_item_id") is None else _id_of(event, "previous_item_id")
    item_id = "" if item.get("id") is None else _id_of(item, "id")
    kind, role = item.get("type"), item.get("role")
    if kind == "function_call_output":
        return _output_create(item, item_id, after, event_id)
    if kind != "message" or role != "user":
        what = f"items of the type {quoted(kind)}" if kind != "message" else f"role {quoted(role)}"
        raise not_supported(f"{what}, only messages of the user and function outputs", "item")
    only(item, {"type", "role", "content", "id", "object", "status"}, "item.")
    content = item.get("content")
    if not isinstance(content, list) or not 0 < len(content) <= MAX_PARTS:
        raise invalid(f"content is not a list of 1 to {MAX_PARTS} parts", "item.content")
    texts, pcm = [], b""
    for number, part in enumerate(content):
        text, audio = _part(part, f"item.content[{number}]")
        texts += [text] if text else []
        pcm += audio
    text = "\n".join(texts)
    if len(text) > MAX_TEXT_CHARS:
        raise invalid(f"the text is longer than {MAX_TEXT_CHARS} characters", "item.content")
    return ItemCreate(item_id, text, pcm, after, event_id=event_id)


def _output_create(
    item: Mapping[str, Any], item_id: str, after: str | None, event_id: str
) -> ClientEvent:
    only(item, {"type", "call_id", "output", "id", "object", "status"}, "item.")
    output = item.get("output")
    if not isinstance(output, str):
        raise invalid("the output is not text", "item.output")
    output = _bounded(output, MAX_RESULT_CHARS, "item.output")
    call_id = _id_of(item, "call_id", "item.")
    return OutputCreate(item_id, call_id, output, after, event_id=event_id)


def _part(part: object, path: str) -> tuple[str, bytes]:
    """Return the text and the PCM of one part of an item."""
    if not isinstance(part, dict):
        raise invalid("a part of the content is not an object", path)
    kind = part.get("type")
    if kind == "input_text":
        only(part, {"type", "text"}, f"{path}.")
        return _text_of(part.get("text"), f"{path}.text"), b""
    if kind == "input_audio":
        only(part, {"type", "audio", "transcript"}, f"{path}.")
        return "", pcm_of(part.get("audio"), f"{path}.audio")
    raise not_supported(f"content of the type {quoted(kind)}", path)


def _truncate(event: Mapping[str, Any], event_id: str) -> ClientEvent:
    return ItemTruncate(
        _id_of(event, "item_id"),
        _count_of(event, "content_index"),
        _count_of(event, "audio_end_ms"),
        event_id=event_id,
    )


RESPONSE_DEFAULTS: Mapping[str, Callable[[Any], bool]] = {
    # Fields of response.create that change nothing with these values, which clients send.
    "conversation": lambda value: value == "auto",
    "output_modalities": lambda value: value == ["audio"],
    "modalities": lambda value: isinstance(value, list) and "audio" in value,
}


def _response_create(event: Mapping[str, Any], event_id: str) -> ClientEvent:
    response = event.get("response")
    if response is not None and not isinstance(response, dict):
        raise invalid("response is not an object", "response")
    metadata = None
    for name, value in (response or {}).items():
        if name == "metadata":
            metadata = _metadata(value)
        elif value is not None and not RESPONSE_DEFAULTS.get(name, lambda _: False)(value):
            raise not_supported(
                f"{quoted(name)} of a single response", f"response.{quoted(name)[1:-1]}"
            )
    return ResponseCreate(metadata, event_id=event_id)


def _metadata(value: object) -> Mapping[str, str] | None:
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or len(value) > MAX_METADATA
        or not all(isinstance(each, str) and len(each) <= 512 for each in value.values())
        or not all(len(each) <= 64 for each in value)
    ):
        raise invalid("metadata is not an object of at most 16 short texts", "response.metadata")
    return value


def _response_cancel(event: Mapping[str, Any], event_id: str) -> ClientEvent:
    named = event.get("response_id") is not None
    return ResponseCancel(_id_of(event, "response_id") if named else "", event_id=event_id)


# By type: the fields, and the function that builds the event.
DECODERS: Mapping[str, tuple[set[str], Callable[[Mapping[str, Any], str], ClientEvent]]] = {
    "session.update": ({"session"}, _session_update),
    "input_audio_buffer.append": ({"audio"}, _append),
    "input_audio_buffer.commit": (set(), lambda _, event_id: AudioCommit(event_id=event_id)),
    "input_audio_buffer.clear": (set(), lambda _, event_id: AudioClear(event_id=event_id)),
    "conversation.item.create": ({"item", "previous_item_id"}, _item_create),
    "conversation.item.truncate": ({"item_id", "content_index", "audio_end_ms"}, _truncate),
    "conversation.item.retrieve": (
        {"item_id"},
        lambda event, event_id: ItemRetrieve(_id_of(event, "item_id"), event_id=event_id),
    ),
    "conversation.item.delete": (
        {"item_id"},
        lambda event, event_id: ItemDelete(_id_of(event, "item_id"), event_id=event_id),
    ),
    "response.create": ({"response"}, _response_create),
    "response.cancel": ({"response_id"}, _response_cancel),
}
