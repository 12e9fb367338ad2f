"""Which calls of a model are valid: the JSON Schemas of tools, and calls that match them. No I/O.

A call must match an offered tool and its schema exactly. Otherwise it is invalid: it has no name
and is not run. The formats of the models are in the folders of their engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.engines.llm import NAME
from appliance.errors import BadRequest
from appliance.link.engine import Tool, ToolCall

MAX_CALL_CHARS = 4_000  # while a call is decoded, the user hears nothing

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def parse_call(body: str, arguments_key: str, tools: Sequence[Tool]) -> ToolCall:
    """Parse the JSON of a call; returns a call without a name if it is invalid.

    `arguments_key` is the name that the model's format gives to the arguments. `"type": "function"`
    is allowed in a call, because models may copy it from a definition.
    """
    if len(body) > MAX_CALL_CHARS:
        return ToolCall()
    try:
        call = json.loads(body, parse_constant=_refuse_constant)
        name, parameters = _split_call(call, arguments_key)
        schema = next(parse_schema(tool) for tool in tools if tool.name == name)
        if not _matches(parameters, schema):
            return ToolCall()
        arguments = json.dumps(parameters, ensure_ascii=False, allow_nan=False)
        arguments.encode("utf-8")  # raises ValueError for an unpaired surrogate
    except (ValueError, RecursionError, StopIteration):
        return ToolCall()
    return ToolCall(name, arguments)


def parse_schema(tool: Tool) -> dict[str, Any]:
    """Return the JSON Schema of a tool's parameters. Raises BadRequest for other text."""
    try:
        schema = json.loads(tool.parameters)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise BadRequest(engine=NAME, what=f"parameters of {tool.name} that are not a schema")
    return schema


def _split_call(call: object, arguments_key: str) -> tuple[str, dict[str, Any]]:
    """Return the name and arguments of a call. Raises ValueError."""
    if not isinstance(call, dict) or call.pop("type", "function") != "function":
        raise ValueError
    if set(call) != {"name", arguments_key}:
        raise ValueError
    name, parameters = call["name"], call[arguments_key]
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


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
