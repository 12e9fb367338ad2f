"""The tools that can be chosen, and how one is added."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from pipecat.services.llm_service import FunctionCallParams

from appliance.errors import BadSetting
from appliance.gateway import tools as toolbox
from appliance.gateway.llm_service import UltravoxAdapter
from appliance.gateway.tools import chosen, spoken_time
from appliance.settings import LLMConfig


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (datetime(2026, 11, 22, 15, 7), "3:07 PM on Sunday, November 22, 2026"),
        (datetime(2026, 1, 1, 0, 0), "12:00 AM on Thursday, January 1, 2026"),
        (datetime(2026, 1, 1, 12, 30), "12:30 PM on Thursday, January 1, 2026"),
    ],
)
def test_the_time_is_told_so_that_it_can_be_read_out(now: datetime, said: str) -> None:
    assert spoken_time(now) == said


def test_the_tools_of_the_setting_are_described_to_the_model() -> None:
    adapter = UltravoxAdapter()  # type: ignore[no-untyped-call]
    tools = adapter.to_provider_tools_format(chosen(LLMConfig().tools))
    assert [tool.name for tool in tools] == ["current_time", "end_call"]
    for tool in tools:
        assert tool.description.endswith(".")
        assert json.loads(tool.parameters) == {"type": "object", "properties": {}, "required": []}


def test_a_tool_may_be_named_twice_or_none_at_all() -> None:
    assert len(chosen(["end_call", "end_call"]).standard_tools) == 1
    assert chosen([]).standard_tools == []


def test_a_name_that_no_tool_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadSetting, match=r"'current_tme'.*current_time, end_call"):
        chosen(["end_call", "current_tme"])


async def talkative(params: FunctionCallParams) -> None: ...


def test_a_tool_that_the_link_would_refuse_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talkative.__doc__ = "word " * 300
    monkeypatch.setattr(toolbox, "TOOLS", [talkative])
    with pytest.raises(BadSetting, match="the description of talkative"):
        chosen(["talkative"])
