"""The tools of Realtime clients: what is offered to the model, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm import tool_calls
from appliance.engines.llm.small import tools as small
from appliance.engines.llm.vllm import tools as vllm
from appliance.gateway.realtime.client_events import RefusedEvent
from appliance.gateway.realtime.config import SessionConfig
from appliance.gateway.realtime.tools import ToolLimits, parse_choice, parse_tools, shown
from appliance.link.engine import MAX_TOOLS, Tool

LIMITS = ToolLimits(frozenset({"current_time", "end_call"}), 4096)
SCHEMA = {"type": "object", "properties": {"door": {"type": "integer"}}, "required": ["door"]}
CONFIG = SessionConfig("m", "af_heart", transcripts=True, client_settings=True, tool_limits=LIMITS)


def function(name: str = "open_door", **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, **more}


def refusal(*tools: Any) -> RefusedEvent:
    with pytest.raises(RefusedEvent) as refused:
        parse_tools(list(tools), LIMITS)
    return refused.value


def test_a_tool_is_offered_as_it_is_given() -> None:
    given = function(description="Opens a door.\nAsk first.", parameters=SCHEMA)
    (tool,) = parse_tools([given | {"strict": True}], LIMITS)
    assert tool == Tool("open_door", "Opens a door.\nAsk first.", json.dumps(SCHEMA))
    assert shown(tool) == given


def test_a_tool_needs_only_a_name() -> None:
    nothing: list[dict[str, Any]] = [{}, {"parameters": {}}, {"parameters": None}]
    for more in [*nothing, {"description": None}]:
        (tool,) = parse_tools([function(**more)], LIMITS)
        assert json.loads(tool.parameters) == {"type": "object", "properties": {}}
    assert parse_tools([], LIMITS) == ()


@pytest.mark.parametrize(
    ("tool", "words", "param"),
    [
        (7, "not an object", "session.tools[0]"),
        ({"type": "mcp", "server_url": "x"}, "'mcp'", "session.tools[0].type"),
        ({"name": "open_door"}, "'NoneType'", "session.tools[0].type"),
        (function(""), "letters", "session.tools[0].name"),
        (function("open door"), "letters", "session.tools[0].name"),
        (function("x" * 65), "letters", "session.tools[0].name"),
        (function("current_time"), "'current_time'", "session.tools[0].name"),
        (function(description="x" * 1001), "1000", "session.tools[0].description"),
        (function(handler="x"), "'handler'", "session.tools[0].handler"),
        (function(parameters=[1]), "not a JSON", "session.tools[0].parameters"),
        (
            function(parameters={"type": "array"}),
            "not a JSON",
            "session.tools[0].parameters",
        ),
        (
            function(parameters=SCHEMA | {"description": "x" * 4000}),
            *("longer than 4000", "session.tools[0].parameters"),
        ),
        (
            function(parameters=SCHEMA | {"title": "\ud800"}),
            "Unicode",
            "session.tools[0].parameters",
        ),
        (
            function(parameters=SCHEMA | {"required": 5}),
            "not a JSON",
            "session.tools[0].parameters",
        ),
    ],
)
def test_invalid_tool_is_refused_with_a_reason(tool: Any, words: str, param: str) -> None:
    refused = refusal(tool)
    assert words in str(refused.problem)
    assert refused.param == param


def test_two_tools_of_one_name_are_refused() -> None:
    assert "two tools" in str(refusal(function(), function()).problem)


def test_there_is_a_limit_to_the_number_and_to_the_size_of_all() -> None:
    tools = [function(f"f{number}") for number in range(MAX_TOOLS - 1)]
    assert len(parse_tools(tools[:-1], LIMITS)) == MAX_TOOLS - 2  # the appliance has two
    assert f"at most {MAX_TOOLS - 2}" in str(refusal(*tools).problem)
    long = [function(f"f{number}", description="x" * 900) for number in range(5)]
    assert "more than 4096" in str(refusal(*long).problem)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "open_door"}, 7])
def test_the_model_decides_whether_it_calls(choice: Any) -> None:
    with pytest.raises(RefusedEvent) as refused:
        parse_choice(choice)
    assert refused.value.problem.reason == "not_supported"


def test_with_the_choice_none_the_tools_are_kept_but_not_offered() -> None:
    config = CONFIG.updated({"tools": [function()], "tool_choice": "none"})
    assert config.offered_tools == ()
    assert [tool["name"] for tool in config.session("s", 1, False)["tools"]] == ["open_door"]
    (offered,) = config.updated({"tool_choice": "auto"}).offered_tools
    assert offered.name == "open_door"


@pytest.mark.parametrize(("allowed", "transcripts"), [(False, True), (True, False)])
def test_tools_need_the_operators_leave_and_transcripts(allowed: bool, transcripts: bool) -> None:
    config = dataclasses.replace(CONFIG, client_settings=allowed, transcripts=transcripts)
    config = config.updated({"tools": [function()], "tool_choice": "required"})
    session = config.session("s", 1, False)
    assert (session["tools"], session["tool_choice"]) == ([], "auto")


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("object"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "enum", "items", "description", "door"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(SCHEMAS, SCHEMAS)
def test_no_schema_that_is_accepted_breaks_an_engine(schema: Any, value: Any) -> None:
    parameters = {"type": "object", "properties": {"door": schema}}
    try:
        (tool,) = parse_tools([function(parameters=parameters)], LIMITS)
    except RefusedEvent:
        return
    for engine in (small, vllm):
        assert "open_door" in engine.render_definitions([tool])
    body = json.dumps({"name": "open_door", "arguments": {"door": value}})
    assert tool_calls.parse_call(body, "arguments", [tool]).name in ("", "open_door")
