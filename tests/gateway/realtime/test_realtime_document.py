"""The section "OpenAI Realtime" of docs/client-protocol.md describes what the code does."""

from __future__ import annotations

import inspect
import re

from appliance.errors import EventRefused
from appliance.gateway.realtime import (
    conversation,
    questions,
    responses,
    server_events,
    state,
    user_input,
)
from appliance.gateway.realtime.client_events import DECODERS
from appliance.gateway.realtime.config import FIELDS, INPUT_FIELDS, OUTPUT_FIELDS
from tests.gateway.test_client_protocol_document import code, errors_of_type, section, table


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_.]+)`", cell))


def test_events_that_clients_may_send_are_documented() -> None:
    assert {code(row[0]) for row in table("Events of the client")} == set(DECODERS)


def test_events_that_the_gateway_sends_are_documented() -> None:
    documented = {name for row in table("Events from the gateway") for name in names(row[0])}
    modules = (conversation, responses, server_events, state, user_input)
    text = "".join(map(inspect.getsource, modules))
    sent = set(
        re.findall(r'"((?:session|response|conversation\.item|error)(?:[.a-z_]*\.[a-z]+))"', text)
    )
    sent -= {*server_events.BETA_NAMES.values(), "conversation.item.created"}
    buffer = ("committed", "cleared", "speech_started", "speech_stopped")
    assert documented == sent | {"error", *(f"input_audio_buffer.{each}" for each in buffer)}


def test_every_refusal_of_an_event_is_documented() -> None:
    documented = {code(row[0]) for row in table("Errors of events")}
    assert documented == {error.reason for error in errors_of_type(EventRefused)}
    assert f"more than {conversation.MAX_ITEMS}" in section("Errors of events")
    milliseconds = 1000 * questions.MIN_COMMIT_BYTES // questions.BYTES_PER_SECOND
    assert f"less than {milliseconds} ms" in section("Errors of events")


def test_fields_of_the_session_are_documented() -> None:
    named = {name for row in table("The session") for name in names(row[0])}
    known = FIELDS | {f"audio.input.{each}" for each in INPUT_FIELDS}
    known |= {f"audio.output.{each}" for each in OUTPUT_FIELDS}
    hidden = {"audio", "object", "id", "expires_at", "parallel_tool_calls", "reasoning"}
    assert named == known - hidden
