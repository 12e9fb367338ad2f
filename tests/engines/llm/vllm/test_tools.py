"""Tool calls: definitions, and which replies are calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.tool_calls import MAX_CALL_CHARS
from appliance.engines.llm.vllm.tools import parse_call, render_call, render_definitions
from appliance.errors import BadRequest
from appliance.link.engine import Tool, ToolCall

TIME = Tool(
    "current_time",
    "Tells the time in a zone.",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "zone": {"type": "string", "description": "such as Zürich"},
                "digits": {"type": "integer"},
                "exact": {"type": ["boolean", "null"]},
                "form": {"enum": ["long", "short"]},
                "offset": {"type": "number"},
                "days": {"type": "array", "items": {"type": "string"}},
                "place": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            },
            "required": ["zone"],
        }
    ),
)
END_CALL = Tool("end_call", "Ends the call.", '{"type": "object", "properties": {}}')
INVALID_CALL = ToolCall()


def call(name: str = "current_time", **parameters: object) -> str:
    return json.dumps({"name": name, "parameters": parameters})


def test_definitions_match_the_official_template() -> None:
    assert render_definitions([END_CALL]) == (
        "You have access to the following functions. To call a function, please respond with JSON "
        'for a function call.Respond in the format {"name": function name, "parameters": '
        "dictionary of argument name and its value}.Do not use variables.\n\n"
        "{\n"
        '    "type": "function",\n'
        '    "function": {\n'
        '        "name": "end_call",\n'
        '        "description": "Ends the call.",\n'
        '        "parameters": {\n'
        '            "type": "object",\n'
        '            "properties": {}\n'
        "        }\n"
        "    }\n"
        "}\n\n"
    )
    assert "such as Zürich" in render_definitions([END_CALL, TIME])
    assert render_definitions([]) == ""


@pytest.mark.parametrize("parameters", ["", "no", "[]", '"object"', "{}", '{"type": "string"}'])
def test_parameters_that_are_not_a_schema_are_a_bad_request(parameters: str) -> None:
    with pytest.raises(BadRequest, match="current_time"):
        render_definitions([Tool("current_time", "", parameters)])


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "current_time", "parameters": {"zone": "UTC"}}',
        '  \n{"name":"current_time","parameters":{"zone":"UTC"}}\n ',
        '<|python_tag|>{"name": "current_time", "parameters": {"zone": "UTC"}}',
        '{"type": "function", "name": "current_time", "parameters": {"zone": "UTC"}}',
    ],
)
def test_call_is_parsed(text: str) -> None:
    assert parse_call(text, [END_CALL, TIME]) == ToolCall("current_time", '{"zone": "UTC"}')


@pytest.mark.parametrize(
    "arguments",
    [
        {"digits": 3},
        {"exact": True},
        {"exact": None},
        {"form": "long"},
        {"offset": 1},
        {"offset": -0.5},
        {"days": ["Monday"]},
        {"place": {"city": "Bern"}},
    ],
)
def test_arguments_that_match_the_schema_are_accepted(arguments: dict[str, Any]) -> None:
    parsed = parse_call(call(zone="UTC", **arguments), [TIME])
    assert json.loads(parsed.arguments) == {"zone": "UTC", **arguments}


@pytest.mark.parametrize(
    "arguments",
    [
        {"digits": "3"},
        {"digits": True},
        {"digits": 3.5},
        {"exact": 1},
        {"form": "medium"},
        {"offset": "1"},
        {"days": "Monday"},
        {"days": [1]},
        {"place": {}},
        {"place": {"city": 1}},
        {"place": {"city": "Bern", "street": "?"}},
        {"invented": 1},
        {"zone": None},
        {"zone": ["UTC"]},
    ],
)
def test_arguments_that_do_not_match_the_schema_are_refused(
    arguments: dict[str, Any],
) -> None:
    assert parse_call(call(**{"zone": "UTC", **arguments}), [TIME]) == INVALID_CALL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "It is ten o'clock.",
        call("launch"),
        call("current_time"),  # without the required zone
        "Sure! " + call("end_call"),
        call("end_call") + " Goodbye!",
        call("end_call") * 2,
        "[" + call("end_call") + "]",
        '"end_call"',
        '{"name": "end_call"}',
        '{"name": "end_call", "parameters": null}',
        '{"name": "end_call", "parameters": "{}"}',
        '{"name": "end_call", "arguments": {}}',
        '{"name": ["end_call"], "parameters": {}}',
        '{"name": "", "parameters": {}}',
        '{"type": "tool", "name": "end_call", "parameters": {}}',
        '{"name": "end_call", "parameters": {}, "then": "hang up"}',
        '{"name": "current_time", "parameters": {"zone": "UTC", "offset": NaN}}',
        '{"name": "current_time", "parameters": {"zone": "UTC", "offset": 1e999}}',
        '{"name": "current_time", "parameters": {"zone": "\\ud800"}}',
        '{"name": "current_time", "parameters": {"zone": "UTC", "digits": ' + "9" * 5000 + "}}",
        call(zone="U" * MAX_CALL_CHARS),
        "[" * (MAX_CALL_CHARS - 1),
        '{"name":' * 400,
        "<function=end_call>{}</function>",
    ],
)
def test_malformed_call_is_an_invalid_call(text: str) -> None:
    assert parse_call(text, [TIME, END_CALL]) == INVALID_CALL


@given(st.text())
def test_arbitrary_text_is_not_a_valid_call(text: str) -> None:
    assert parse_call(text, [TIME, END_CALL]) == INVALID_CALL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_any_json_parameters_are_parsed_without_an_error(value: object) -> None:
    parsed = parse_call(json.dumps({"name": "current_time", "parameters": value}), [TIME, END_CALL])
    assert parsed == INVALID_CALL or isinstance(json.loads(parsed.arguments)["zone"], str)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_rendered_call_round_trips(zone: str) -> None:
    tool_call = ToolCall("current_time", json.dumps({"zone": zone}, ensure_ascii=False))
    assert parse_call(render_call(tool_call), [TIME]) == tool_call
