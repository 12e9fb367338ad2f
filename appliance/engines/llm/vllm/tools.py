"""Tool calls in the format that Llama 3.1 was trained on. No I/O.

The tool definitions are part of the system prompt. A call is a reply that consists only of JSON:

    {"name": "current_time", "parameters": {"zone": "Europe/Berlin"}}

The texts are from the official chat template of Llama 3.1, branch `tools_in_user_message=false`. A
call must match an offered tool and its schema exactly. Otherwise it is invalid: it has no name and
is not run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.engines.llm import NAME
from appliance.errors import BadRequest
from appliance.link.engine import Tool, ToolCall

PYTHON_TAG = "<|python_tag|>"
MAX_CALL_CHARS = 4_000  # while a call is decoded, the user hears nothing

_INTRODUCTION = (
    "You have access to the following functions. To call a function, please respond with JSON "
    'for a function call.Respond in the format {"name": function name, "parameters": dictionary '
    "of argument name and its value}.Do not use variables.\n\n"
)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def render_definitions(tools: Sequence[Tool]) -> str:
    """Render the tool definitions for the system prompt; empty if there are no tools.

    Raises BadRequest for parameters that are not a JSON Schema of an object.
    """
    if not tools:
        return ""
    return _INTRODUCTION + "".join(
        json.dumps(
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": _parse_schema(tool),
                },
            },
            ensure_ascii=False,
            indent=4,
        )
        + "\n\n"
        for tool in tools
    )


def parse_call(text: str, tools: Sequence[Tool]) -> ToolCall:
    """Parse a reply that is a tool call; returns a call without a name if it is invalid.

    `"type": "function"` is allowed in a call, because models may copy it from a definition.
    """
    body = text.strip().removeprefix(PYTHON_TAG).strip()
    if len(body) > MAX_CALL_CHARS:
        return ToolCall()
    try:
        name, parameters = _split_call(json.loads(body, parse_constant=_refuse_constant))
        schema = next(_parse_schema(tool) for tool in tools if tool.name == name)
        if not _matches(parameters, schema):
            return ToolCall()
        arguments = json.dumps(parameters, ensure_ascii=False, allow_nan=False)
        arguments.encode("utf-8")  # raises ValueError for an unpaired surrogate
    except (ValueError, RecursionError, StopIteration):
        return ToolCall()
    return ToolCall(name, arguments)


def render_call(call: ToolCall) -> str:
    """Render a call as the text of an assistant turn."""
    return (
        f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "parameters": {call.arguments}}}'
    )


def _split_call(call: object) -> tuple[str, dict[str, Any]]:
    """Return the name and parameters of a call. Raises ValueError."""
    if not isinstance(call, dict) or call.pop("type", "function") != "function":
        raise ValueError
    if set(call) != {"name", "parameters"}:
        raise ValueError
    name, parameters = call["name"], call["parameters"]
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise ValueError
    return name, parameters


def _matches(value: object, schema: object) -> bool:
    """Return whether a value matches a JSON Schema's types, properties, items and enum values.

    The tool itself checks patterns, bounds and combinations of schemas.
    """
    if not isinstance(schema, dict):
        return True  # the schema `true` allows any value
    if "enum" in schema and value not in schema["enum"]:
        return False
    types = schema.get("type", list(_TYPES))
    if not any(_has_type(value, name) for name in (types if isinstance(types, list) else [types])):
        return False
    if isinstance(value, list):
        return all(_matches(item, schema.get("items")) for item in value)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        is_complete = set(schema.get("required", ())) <= set(value)
        unknown = set(value) - set(properties) if schema.get("type") == "object" else set()
        return (
            is_complete
            and (not unknown or bool(schema.get("additionalProperties")))
            and all(_matches(item, properties.get(name)) for name, item in value.items())
        )
    return True


def _has_type(value: object, name: str) -> bool:
    if isinstance(value, bool):  # a subclass of int in Python
        return name == "boolean"
    return isinstance(value, _TYPES.get(name, ()))


def _parse_schema(tool: Tool) -> dict[str, Any]:
    try:
        schema = json.loads(tool.parameters)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise BadRequest(engine=NAME, what=f"parameters of {tool.name} that are not a schema")
    return schema


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
