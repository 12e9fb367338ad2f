"""What the model may do beside speaking: what the setting `llm.tools` chooses from.

Each is a function in Pipecat's own form, described to the model by its name, its docstring and
the types of its parameters. docs/tools.md says how to add one: write it, and name it in TOOLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import cast

from pipecat.adapters.llm.schemas.direct_function import DirectFunction
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.services.llm_service import FunctionCallParams
from pydantic import TypeAdapter, ValidationError

from appliance.errors import BadSetting
from appliance.gateway.llm_service import UltravoxAdapter, UltravoxWithContextService
from appliance.link.engine import Tool


async def current_time(params: FunctionCallParams) -> None:
    """Tells the time of day and the date."""
    await params.result_callback(spoken_time(datetime.now().astimezone()))


async def end_call(params: FunctionCallParams) -> None:
    """Ends the call. For when the caller says goodbye or wants to hang up, and for nothing else."""
    cast(UltravoxWithContextService, params.llm).hang_up()
    await params.result_callback("The call ends after your next sentence. Say goodbye.")


TOOLS: Sequence[DirectFunction] = (current_time, end_call)
_tool = TypeAdapter(Tool)


def chosen(names: Sequence[str]) -> ToolsSchema:
    """The tools of these names, as Pipecat's context takes them.

    Raises BadSetting for a name that no tool has and for a tool that cannot be offered.
    """
    known = {tool.__name__: tool for tool in TOOLS}
    for name in names:
        if name not in known:
            there_are = ", ".join(known)
            raise BadSetting(
                name="llm.tools",
                why=f"there is no tool called {name!r}; there are: {there_are}",
            )
    schema = ToolsSchema(standard_tools=[known[name] for name in dict.fromkeys(names)])
    adapter = UltravoxAdapter()  # type: ignore[no-untyped-call]
    for tool in adapter.to_provider_tools_format(schema):
        try:
            _tool.validate_python(asdict(tool))
        except ValidationError as problem:
            field = ".".join(map(str, problem.errors()[0]["loc"]))
            raise BadSetting(
                name="llm.tools", why=f"the {field} of {tool.name} cannot be offered"
            ) from problem
    return schema


def spoken_time(now: datetime) -> str:
    """A time and date such as a voice can read out: 3:07 PM on Sunday, November 22, 2026."""
    hour = now.hour % 12 or 12
    half = "AM" if now.hour < 12 else "PM"
    return f"{hour}:{now:%M} {half} on {now:%A}, {now:%B} {now.day}, {now.year}"
