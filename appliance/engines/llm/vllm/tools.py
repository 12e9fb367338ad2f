"""Function calling as Llama 3.1 was trained for it; pure.

The definitions stand in the system block and a call is the whole reply, as JSON:

    {"name": "current_time", "parameters": {"zone": "Europe/Berlin"}}

Texts as in the official chat template of Llama 3.1, branch `tools_in_user_message=false`. What
does not fit a tool that was offered in every respect is no call, so nothing is run by guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import BadRequest
from appliance.link.engine import Tool, ToolCall

PYTHON_TAG = "<|python_tag|>"
LONGEST_CALL = 4_000  # characters; a call is decoded in silence, with a caller waiting

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


def definitions(tools: Sequence[Tool]) -> str:
    """What the system block says of the tools; nothing when there are none.

    Raises BadRequest for parameters that are no JSON object.
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
                    "parameters": _schema(tool),
                },
            },
            ensure_ascii=False,
            indent=4,
        )
        + "\n\n"
        for tool in tools
    )


def parse(text: str, tools: Sequence[Tool]) -> ToolCall:
    """The call that a whole reply is; a ToolCall without a name when it is none of a tool offered.

    A model that has read `"type": "function"` in a definition may write it in its call, too.
    """
    body = text.strip().removeprefix(PYTHON_TAG).strip()
    if len(body) > LONGEST_CALL:
        return ToolCall()
    try:
        said = json.loads(body, parse_constant=_refuse)
        name, given = _parts(said)
        schema = next(_schema(tool) for tool in tools if tool.name == name)
        if not _fits(given, schema):
            return ToolCall()
        arguments = json.dumps(given, ensure_ascii=False, allow_nan=False)
        arguments.encode("utf-8")  # no half surrogate pairs
    except (ValueError, RecursionError, StopIteration):
        return ToolCall()
    return ToolCall(name, arguments)


def written(call: ToolCall) -> str:
    """What the assistant's turn says that made a call."""
    return (
        f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "parameters": {call.arguments}}}'
    )


def _parts(said: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(said, dict) or said.pop("type", "function") != "function":
        raise ValueError
    if set(said) != {"name", "parameters"}:
        raise ValueError
    name, given = said["name"], said["parameters"]
    if not isinstance(name, str) or not isinstance(given, dict):
        raise ValueError
    return name, given


def _fits(value: object, schema: object) -> bool:
    """Whether a value has the type, the parts and one of the values that a JSON Schema asks for.

    The rest of JSON Schema (patterns, bounds, combinations) is the tool's own to check.
    """
    if not isinstance(schema, dict):
        return True  # "true": anything
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", list(_TYPES))
    if not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return False
    if isinstance(value, list):
        return all(_fits(item, schema.get("items")) for item in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        complete = set(schema.get("required", ())) <= set(value)
        invented = set(value) - set(known) if schema.get("type") == "object" else set()
        return (
            complete
            and (not invented or bool(schema.get("additionalProperties")))
            and all(_fits(item, known.get(name)) for name, item in value.items())
        )
    return True


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):  # which Python counts among the integers
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, ()))


def _schema(tool: Tool) -> dict[str, Any]:
    try:
        schema = json.loads(tool.parameters)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise BadRequest(engine="llm", what=f"parameters of {tool.name} that are no schema")
    return schema


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
