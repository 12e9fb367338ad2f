"""Tool calls in the format that Llama 3.1 was trained on. No I/O.

The tool definitions are part of the system prompt. A call is a reply that consists only of JSON:

    {"name": "current_time", "parameters": {"zone": "Europe/Berlin"}}

The texts are from the official chat template of Llama 3.1, branch `tools_in_user_message=false`. A
call must match an offered tool and its schema exactly. Otherwise it is invalid: it has no name and
is not run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from appliance.engines.llm import tool_calls
from appliance.link.engine import Tool, ToolCall

PYTHON_TAG = "<|python_tag|>"

_INTRODUCTION = (
    "You have access to the following functions. To call a function, please respond with JSON "
    'for a function call.Respond in the format {"name": function name, "parameters": dictionary '
    "of argument name and its value}.Do not use variables.\n\n"
)


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
                    "parameters": tool_calls.parse_schema(tool),
                },
            },
            ensure_ascii=False,
            indent=4,
        )
        + "\n\n"
        for tool in tools
    )


def parse_call(text: str, tools: Sequence[Tool]) -> ToolCall:
    """Parse a reply that is a tool call; returns a call without a name if it is invalid."""
    body = text.strip().removeprefix(PYTHON_TAG).strip()
    return tool_calls.parse_call(body, "parameters", tools)


def render_call(call: ToolCall) -> str:
    """Render a call as the text of the assistant."""
    return (
        f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "parameters": {call.arguments}}}'
    )
