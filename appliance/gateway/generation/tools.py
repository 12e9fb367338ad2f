"""The tools that the model may call, chosen by the setting `llm.tools`.

Each is a direct function in Pipecat's sense. The model sees its name, its docstring and the types
of its parameters. To add one, write it and list it in TOOLS: docs/tools.md has an example.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import cast

from pipecat.adapters.llm.schemas.direct_function import DirectFunction
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.services.llm_service import FunctionCallParams
from pydantic import TypeAdapter, ValidationError

from appliance.errors import BadSetting
from appliance.gateway.generation.llm_adapter import UltravoxAdapter
from appliance.gateway.generation.llm_service import UltravoxWithContextService
from appliance.link.engine import Tool


async def current_time(params: FunctionCallParams) -> None:
    """Tells the time of day and the date."""
    await params.result_callback(format_spoken_time(datetime.now().astimezone()))


async def end_call(params: FunctionCallParams) -> None:
    """Ends the call. For when the caller says goodbye or wants to hang up, and for nothing else."""
    cast(UltravoxWithContextService, params.llm).hang_up()
    await params.result_callback("The call ends after your next sentence. Say goodbye.")


TOOLS: Sequence[DirectFunction] = (current_time, end_call)
_tool_adapter = TypeAdapter(Tool)


def select_tools(names: Sequence[str]) -> ToolsSchema:
    """Return the tools with these names, in the schema of Pipecat's context.

    Raises BadSetting for an unknown name, and for a tool that exceeds the bounds of the engine
    link.
    """
    known = {tool.__name__: tool for tool in TOOLS}
    for name in names:
        if name not in known:
            raise BadSetting(
                name="llm.tools",
                why=f"unknown tool {name!r}; known tools: {', '.join(known)}",
            )
    schema = ToolsSchema(standard_tools=[known[name] for name in dict.fromkeys(names)])
    adapter = UltravoxAdapter()  # type: ignore[no-untyped-call]
    for tool in adapter.to_provider_tools_format(schema):
        try:
            _tool_adapter.validate_python(asdict(tool))
        except ValidationError as problem:
            field = ".".join(map(str, problem.errors()[0]["loc"]))
            raise BadSetting(
                name="llm.tools", why=f"the engine link does not allow the {field} of {tool.name}"
            ) from problem
    return schema


def offered_tools(names: Sequence[str]) -> tuple[Tool, ...]:
    """Return the tools with these names as the engine gets them. Raises BadSetting."""
    adapter = UltravoxAdapter()  # type: ignore[no-untyped-call]
    return tuple(adapter.to_provider_tools_format(select_tools(names)))


def render_tools(names: Sequence[str]) -> str:
    """Return the tools with these names as JSON: a list of objects. Raises BadSetting."""
    return json.dumps([asdict(tool) for tool in offered_tools(names)], ensure_ascii=False)


def format_spoken_time(now: datetime) -> str:
    """Return a time and date that can be read out: 3:07 PM on Sunday, November 22, 2026."""
    hour = now.hour % 12 or 12
    half = "AM" if now.hour < 12 else "PM"
    return f"{hour}:{now:%M} {half} on {now:%A}, {now:%B} {now.day}, {now.year}"
