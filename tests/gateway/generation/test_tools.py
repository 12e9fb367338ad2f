"""Which tools are offered to the model."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from pipecat.services.llm_service import FunctionCallParams

from appliance.errors import BadSetting
from appliance.gateway.generation import tools
from appliance.gateway.generation.llm_adapter import UltravoxAdapter
from appliance.gateway.generation.tools import format_spoken_time, select_tools
from appliance.settings import LLMConfig


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (datetime(2026, 11, 22, 15, 7), "3:07 PM on Sunday, November 22, 2026"),
        (datetime(2026, 1, 1, 0, 0), "12:00 AM on Thursday, January 1, 2026"),
        (datetime(2026, 1, 1, 12, 30), "12:30 PM on Thursday, January 1, 2026"),
    ],
)
def test_time_is_formatted_for_speech(now: datetime, text: str) -> None:
    assert format_spoken_time(now) == text


def test_default_tools_are_described_to_the_model() -> None:
    adapter = UltravoxAdapter()  # type: ignore[no-untyped-call]
    offered = adapter.to_provider_tools_format(select_tools(LLMConfig().tools))
    assert [tool.name for tool in offered] == ["current_time", "end_call"]
    for tool in offered:
        assert tool.description.endswith(".")
        assert json.loads(tool.parameters) == {"type": "object", "properties": {}, "required": []}


def test_duplicate_names_offer_a_tool_once_and_no_names_offer_none() -> None:
    assert len(select_tools(["end_call", "end_call"]).standard_tools) == 1
    assert select_tools([]).standard_tools == []


def test_unknown_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(BadSetting, match=r"'current_tme'.*current_time, end_call"):
        select_tools(["end_call", "current_tme"])


async def talkative(params: FunctionCallParams) -> None: ...


def test_tool_exceeding_the_link_limits_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talkative.__doc__ = "word " * 300
    monkeypatch.setattr(tools, "TOOLS", [talkative])
    with pytest.raises(BadSetting, match="the description of talkative"):
        select_tools(["talkative"])
