"""The tools of a client: which are offered to the model, and which are refused. No I/O.

The engines compare each call with the schema of its tool (engines/llm/tool_calls.py). They expect
that the keywords in it have the types of JSON Schema, so this is checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.gateway.realtime.client_events import invalid, not_supported, only, quoted
from appliance.link.engine import (
    MAX_TOOL_DESCRIPTION_CHARS,
    MAX_TOOL_PARAMETERS_CHARS,
    MAX_TOOLS,
    TOOL_NAME,
    Tool,
)

FIELDS = {"type", "name", "description", "parameters", "strict"}
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
CHOICES = ("auto", "none")


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """What a client's tools may be.

    own_names  of the appliance's tools; a client cannot have one of the same name
    max_chars  of all names, descriptions and schemas together
    """

    own_names: frozenset[str] = frozenset()
    max_chars: int = MAX_TOOL_PARAMETERS_CHARS

    @property
    def max_tools(self) -> int:
        """How many tools a client may have."""
        return MAX_TOOLS - len(self.own_names)


def parse_tools(value: object, limits: ToolLimits) -> tuple[Tool, ...]:
    """Return the tools in a session.update. Raises RefusedEvent."""
    if not isinstance(value, list) or len(value) > limits.max_tools:
        raise invalid(f"tools is not a list of at most {limits.max_tools}", "session.tools")
    tools: list[Tool] = []
    for number, each in enumerate(value):
        path = f"session.tools[{number}]"
        tool = _tool(each, path)
        if tool.name in limits.own_names:
            raise invalid(f"the appliance has a tool {quoted(tool.name)}", f"{path}.name")
        if any(tool.name == other.name for other in tools):
            raise invalid(f"there are two tools {quoted(tool.name)}", f"{path}.name")
        tools.append(tool)
    chars = sum(len(t.name) + len(t.description) + len(t.parameters) for t in tools)
    if chars > limits.max_chars:
        what = f"the tools have {chars} characters, more than {limits.max_chars}"
        raise invalid(what, "session.tools")
    return tuple(tools)


def parse_choice(value: object) -> str:
    """Return the tool choice in a session.update: "auto" or "none". Raises RefusedEvent."""
    if value is None:
        return CHOICES[0]
    if value not in CHOICES:
        what = "a tool_choice other than auto and none: the model decides"
        raise not_supported(what, "session.tool_choice")
    return str(value)


def shown(tool: Tool) -> dict[str, Any]:
    """Return a tool in the format of the session object."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
    }


def _tool(value: object, path: str) -> Tool:
    if not isinstance(value, dict):
        raise invalid("a tool is not an object", path)
    if value.get("type") != "function":
        raise not_supported(f"tools of the type {quoted(value.get('type'))}", f"{path}.type")
    only(value, FIELDS, f"{path}.")
    name, description = value.get("name"), value.get("description") or ""
    if not isinstance(name, str) or not re.fullmatch(TOOL_NAME, name):
        raise invalid("the name is not 1 to 64 letters, digits, _ or -", f"{path}.name")
    if not isinstance(description, str) or len(description) > MAX_TOOL_DESCRIPTION_CHARS:
        what = f"the description is not text of at most {MAX_TOOL_DESCRIPTION_CHARS} characters"
        raise invalid(what, f"{path}.description")
    schema = value.get("parameters") or NO_PARAMETERS
    path = f"{path}.parameters"
    try:
        parameters = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        (parameters + description).encode()
        is_sound = _is_sound(schema)
    except (ValueError, RecursionError):
        raise invalid("it is not JSON of Unicode text, or too deep", path) from None
    if len(parameters) > MAX_TOOL_PARAMETERS_CHARS:
        raise invalid(f"the schema is longer than {MAX_TOOL_PARAMETERS_CHARS} characters", path)
    if not isinstance(schema, dict) or schema.get("type") != "object" or not is_sound:
        raise invalid("it is not a JSON Schema of an object", path)
    return Tool(name, description, parameters)


def _is_sound(schema: object) -> bool:
    """Return whether the keywords that the engines read have the types of JSON Schema."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict):
        return False
    properties = schema.get("properties", {})
    return (
        _is_type(schema.get("type", []))
        and _is_texts(schema.get("required", []))
        and isinstance(schema.get("enum", []), list)
        and isinstance(schema.get("description", ""), str)
        and isinstance(properties, dict)
        and all(map(_is_sound, properties.values()))
        and _is_sound(schema.get("items", True))
    )


def _is_type(value: object) -> bool:
    return isinstance(value, str) or _is_texts(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
