"""Tool calls in a format that small models can learn from the prompt. No I/O.

The definitions follow the system prompt. A call is a reply that is written like one in Python, with
the arguments as JSON:

    opening_hours({"day": "Sunday"})

Qwen2.5-Coder was not trained on the tool calls of Qwen2.5: it never writes the token `<tool_call>`,
even after examples, and if each call begins with a brace, it calls too often. With the name first,
the model decides with the first token of its reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.llm import tool_calls
from appliance.link.engine import Tool, ToolCall

# How else a reply may begin that is meant as a call: other JSON, and a tool that is not offered.
# The first word is held back until the next token, which delays nothing: no phrase ends before it.
_OTHER_CALL = re.compile(r'\s*(?:(?:```(?:json)?\s*)?\{\s*"|[a-z]+(?:_[a-z]+)+\()', re.IGNORECASE)
_MAY_BE_OTHER_CALL = re.compile(
    r"\s*(?:`{0,3}|```(?:json)?\s*\{?\s*|\{\s*|[a-z]+(?:_[a-z]*)*)", re.IGNORECASE
)


def has_parameters(tool: Tool) -> bool:
    """Return whether calls of the tool may have arguments. Raises BadRequest without a schema."""
    return bool(tool_calls.parse_schema(tool).get("properties"))


def render_definitions(tools: Sequence[Tool]) -> str:
    """Render the tool definitions for the system prompt; empty if there are no tools.

    Raises BadRequest for parameters that are not a JSON Schema of an object.
    """
    if not tools:
        return ""
    lines = (
        f"{tool.name}({_render_parameters(tool)}) {_continue_sentence(tool.description)}"
        for tool in tools
    )
    return "\n".join(("Tools:", *lines, "To use a tool, answer only with its call."))


def render_call(text: str) -> str:
    """Render the text of a turn that is a call in the gateway's format: name and parameters.

    Text that is not a call is returned unchanged.
    """
    try:
        call = json.loads(text)
        name, arguments = str(call["name"]), call["parameters"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text
    return f"{name}({json.dumps(arguments, ensure_ascii=False) if arguments else ''})"


def called_name(answer: str) -> str | None:
    """Return the name of the tool if an answer is nothing but a call; None if it is not."""
    match = re.fullmatch(r"([A-Za-z0-9_-]+)\((?:\{.*\})?\)", answer.strip(), re.DOTALL)
    return None if match is None else match.group(1)


def render_result(call: str, result: str, question: str) -> str:
    """Render a tool's result and the question that it answers as the text of a user's turn."""
    return f"{call} says: {result} {question}".strip()


@dataclass(frozen=True, slots=True)
class CallText:
    """The text of a call in a reply: where it begins, and what follows the name and its bracket.

    name  of the tool; empty if the reply begins like a call of something that is not offered
    """

    start: int
    name: str = ""
    rest: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the call is complete, so that nothing more needs to be decoded."""
        return _arguments(self.rest) is not None


def find_call(text: str, tools: Sequence[Tool]) -> CallText | None:
    """Return the first call in a reply; None if there is none so far."""
    names = "|".join(re.escape(tool.name) for tool in tools)
    if names and (match := re.search(rf"(?<![\w-])({names})\(", text)):
        return CallText(match.start(), match.group(1), text[match.end() :])
    if tools and _OTHER_CALL.match(text):
        return CallText(0)
    return None


def certain_speech(text: str, tools: Sequence[Tool]) -> int:
    """Return how many characters of a text without a call cannot begin one."""
    if not tools:
        return len(text)
    if _MAY_BE_OTHER_CALL.fullmatch(text):
        return 0
    word = re.search(r"[\w-]*$", text)
    start = word.start() if word is not None else len(text)
    return start if any(tool.name.startswith(text[start:]) for tool in tools) else len(text)


def parse_call(call: CallText, tools: Sequence[Tool]) -> ToolCall:
    """Parse a call; returns a call without a name if it matches none of the offered tools."""
    arguments = _arguments(call.rest)
    if not call.name or arguments is None:
        return ToolCall()
    body = f'{{"name": {json.dumps(call.name)}, "arguments": {arguments.strip() or "{}"}}}'
    return tool_calls.parse_call(body, "arguments", tools)


def _render_parameters(tool: Tool) -> str:
    properties = tool_calls.parse_schema(tool).get("properties") or {}
    described = {
        name: (schema.get("description") or schema.get("type") or "") if schema else ""
        for name, schema in properties.items()
    }
    return json.dumps(described, ensure_ascii=False) if described else ""


def _continue_sentence(description: str) -> str:
    """Return a description that follows a name: "Tells the time." becomes "tells the time."."""
    is_word = description[:1].isupper() and description[1:2].islower()
    return description[:1].lower() + description[1:] if is_word else description


def _arguments(rest: str) -> str | None:
    """Return the text before the bracket that closes a call; None if there is none yet."""
    depth, quoted, escaped = 0, False, False
    for index, character in enumerate(rest):
        if quoted:
            quoted = character != '"' or escaped
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted, escaped = True, False
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            if depth == 0:
                return rest[:index] if character == ")" else None
            depth -= 1
    return None
