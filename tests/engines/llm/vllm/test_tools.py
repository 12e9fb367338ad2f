from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.vllm.tools import LONGEST_CALL, definitions, parse, written
from appliance.errors import BadRequest
from appliance.link.engine import Tool, ToolCall

TIME = Tool(
    "current_time",
    "Tells the time in a zone.",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "zone": {"type": "string", "description": "as Zürich"},
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
END = Tool("end_call", "Ends the call.", '{"type": "object", "properties": {}}')
NONE = ToolCall()


def call(name: str = "current_time", **given: object) -> str:
    return json.dumps({"name": name, "parameters": given})


def test_definitions_are_those_of_the_official_template() -> None:
    assert definitions([END]) == (
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
    assert "as Zürich" in definitions([END, TIME])
    assert definitions([]) == ""


@pytest.mark.parametrize("parameters", ["", "no", "[]", '"object"', "{}", '{"type": "string"}'])
def test_parameters_that_are_no_schema_are_a_bad_request(parameters: str) -> None:
    with pytest.raises(BadRequest, match="current_time"):
        definitions([Tool("current_time", "", parameters)])


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "current_time", "parameters": {"zone": "UTC"}}',
        '  \n{"name":"current_time","parameters":{"zone":"UTC"}}\n ',
        '<|python_tag|>{"name": "current_time", "parameters": {"zone": "UTC"}}',
        '{"type": "function", "name": "current_time", "parameters": {"zone": "UTC"}}',
    ],
)
def test_a_call_is_read(text: str) -> None:
    assert parse(text, [END, TIME]) == ToolCall("current_time", '{"zone": "UTC"}')


@pytest.mark.parametrize(
    "given_",
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
def test_arguments_of_their_types_are_taken(given_: dict[str, object]) -> None:
    read = parse(call(zone="UTC", **given_), [TIME])
    assert json.loads(read.arguments) == {"zone": "UTC", **given_}


@pytest.mark.parametrize(
    "given_",
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
def test_arguments_of_other_types_are_not(given_: dict[str, object]) -> None:
    assert parse(call(**{"zone": "UTC", **given_}), [TIME]) == NONE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "It is ten o'clock.",
        call("launch"),
        call("current_time"),  # without its zone
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
        call(zone="U" * LONGEST_CALL),
        "[" * (LONGEST_CALL - 1),
        '{"name":' * 400,
        "<function=end_call>{}</function>",
    ],
)
def test_anything_else_is_a_call_without_a_name(text: str) -> None:
    assert parse(text, [TIME, END]) == NONE


@given(st.text())
def test_no_text_makes_it_stumble(text: str) -> None:
    assert parse(text, [TIME, END]) == NONE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_nor_does_any_json(value: object) -> None:
    read = parse(json.dumps({"name": "current_time", "parameters": value}), [TIME, END])
    assert read == NONE or isinstance(json.loads(read.arguments)["zone"], str)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_what_is_written_of_a_call_is_read_as_the_same(zone: str) -> None:
    made = ToolCall("current_time", json.dumps({"zone": zone}, ensure_ascii=False))
    assert parse(written(made), [TIME]) == made
