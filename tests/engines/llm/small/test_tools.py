"""Tool calls of the small engine: definitions, calls in a reply, and what is a valid call."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.tools import (
    called_name,
    certain_speech,
    find_call,
    parse_call,
    render_call,
    render_definitions,
)
from appliance.errors import BadRequest
from appliance.gateway.generation.tool_executor import format_call
from appliance.link.engine import Tool, ToolCall

TIME = Tool("current_time", "Tells the time.", '{"type": "object", "properties": {}}')
HOURS = Tool(
    "opening_hours",
    "Tells when the shop is open.",
    json.dumps(
        {
            "type": "object",
            "properties": {"day": {"type": "string", "description": "The day of the week."}},
            "required": ["day"],
        }
    ),
)
TOOLS = (TIME, HOURS)


def called(text: str) -> ToolCall | None:
    call = find_call(text, TOOLS)
    return None if call is None else parse_call(call, TOOLS)


def test_definitions_name_each_tool_with_its_parameters() -> None:
    assert render_definitions(TOOLS).splitlines()[1:3] == [
        "current_time() tells the time.",
        'opening_hours({"day": "The day of the week."}) tells when the shop is open.',
    ]


def test_each_tool_has_one_line() -> None:
    parameters = {"type": "object", "properties": {"number": True, "wide": {"type": "boolean"}}}
    tool = Tool("open_door", "Opens a door.\n\n  Ask first.", json.dumps(parameters))
    assert render_definitions([tool]).splitlines()[1:-1] == [
        'open_door({"number": "", "wide": "boolean"}) opens a door. Ask first.'
    ]


def test_prompt_without_tools_has_no_definitions() -> None:
    assert render_definitions(()) == ""


def test_parameters_that_are_not_a_schema_are_refused() -> None:
    with pytest.raises(BadRequest):
        render_definitions([Tool("current_time", "", "[]")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("current_time()", ToolCall("current_time", "{}")),
        ("current_time( )", ToolCall("current_time", "{}")),
        ("current_time({})", ToolCall("current_time", "{}")),
        ('opening_hours({"day": "Sunday"})', ToolCall("opening_hours", '{"day": "Sunday"}')),
        (
            'opening_hours({"day": "a \\") b"}) and more',
            ToolCall("opening_hours", '{"day": "a \\") b"}'),
        ),
        ("One moment. current_time()", ToolCall("current_time", "{}")),
    ],
)
def test_call_of_an_offered_tool_is_found(text: str, expected: ToolCall) -> None:
    assert called(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "current_time(",
        "current_time(now",
        'current_time({"zone": 1})',
        "opening_hours()",
        "opening_hours(Sunday)",
        'opening_hours({"day": 7})',
        'opening_hours({"day": "Sunday"',
        "get_weather()",
        "Set_timer(10)",
        '{"name": "get_weather", "arguments": {}}',
        '```json\n{"name": "current_time"}\n```',
    ],
)
def test_wrong_or_unknown_call_is_malformed(text: str) -> None:
    assert called(text) == ToolCall()


@pytest.mark.parametrize(
    "text", ["It is ten past three.", "The current time(s)", "Cats (and dogs) sleep.", "{smiles}"]
)
def test_spoken_sentence_is_not_a_tool_call(text: str) -> None:
    assert called(text) is None


def test_reply_looks_like_a_call_only_if_tools_are_in_the_prompt() -> None:
    assert find_call("current_time()", ()) is None
    assert find_call('{"name": "x"}', ()) is None


@given(st.sampled_from(['opening_hours({"day": "Sunday"})', "Wait. current_time()", "get_it()"]))
def test_no_letter_of_a_call_is_certain_speech(text: str) -> None:
    call = find_call(text, TOOLS)
    assert call is not None
    for end in range(len(text)):
        if find_call(text[:end], TOOLS) is None:
            assert certain_speech(text[:end], TOOLS) <= call.start


@pytest.mark.parametrize("text", ["Yes.", "It is ", "Two {", "A cat", "The time_"])
def test_speech_that_cannot_become_a_call_is_certain(text: str) -> None:
    assert certain_speech(text, TOOLS) == len(text)


@given(st.text(max_size=40))
def test_any_text_after_a_name_is_parsed_or_malformed(text: str) -> None:
    call = find_call(f"opening_hours({text}", TOOLS)
    assert call is not None
    assert parse_call(call, TOOLS).name in ("", "opening_hours")


def test_call_of_the_gateways_history_is_rendered_as_the_model_writes_it() -> None:
    for text in ("current_time()", 'opening_hours({"day": "Sunday"})'):
        call = called(text)
        assert call is not None
        assert render_call(format_call(call)) == text


@pytest.mark.parametrize("text", ["It is late.", "[1]", "{}", '{"name": 1}', "[" * 9_999])
def test_text_that_is_not_a_call_is_unchanged(text: str) -> None:
    assert render_call(text) == text


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("current_time()", "current_time"),
        ('opening_hours({"day": "Sunday"})', "opening_hours"),
        ("It is ten.", None),
        ("Call current_time()", None),
    ],
)
def test_answer_of_an_example_may_be_a_call(answer: str, name: str | None) -> None:
    assert called_name(answer) == name
