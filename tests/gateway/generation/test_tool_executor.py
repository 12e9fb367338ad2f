"""Which tool calls are executed, and how calls and results are formatted."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import LLMService

from appliance.gateway.generation.llm_adapter import UltravoxAdapter
from appliance.gateway.generation.tool_executor import (
    MAX_RESULT_CHARS,
    ToolExecutor,
    format_call,
    format_result,
)
from appliance.link.engine import ToolCall


class Service(LLMService[Any]):
    adapter_class = UltravoxAdapter


@pytest.fixture
def executor() -> ToolExecutor:
    service = Service()
    service.register_function("look_up", lambda params: None)
    return ToolExecutor(service, LLMContext())


@pytest.mark.parametrize(
    ("call", "runs"),
    [
        (ToolCall("look_up"), True),
        (ToolCall("look_up", '{"word": "{"}'), True),
        (ToolCall(), False),
        (ToolCall("format_disk"), False),
        (ToolCall("look_up", "[]"), False),
        (ToolCall("look_up", "word"), False),
    ],
)
def test_only_registered_functions_with_object_arguments_are_run(
    executor: ToolExecutor, call: ToolCall, runs: bool
) -> None:
    assert executor.can_run(call) is runs


def test_call_without_a_name_is_not_run_even_with_a_catch_all_function() -> None:
    service = Service()
    service.register_function(None, lambda params: None)
    assert not ToolExecutor(service, LLMContext()).can_run(ToolCall())


def test_call_is_formatted_as_llama_writes_it() -> None:
    call = ToolCall("look_up", '{"word":"Grüße"}')
    assert format_call(call) == '{"name": "look_up", "parameters": {"word": "Grüße"}}'


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("closed", "closed"),
        ({"open": True}, '{"open": true}'),
        (None, "null"),
        (date(2026, 11, 22), '"2026-11-22"'),
        ("x" * 10_000, "x" * MAX_RESULT_CHARS),
    ],
)
def test_result_is_text_or_json_of_bounded_length(result: object, text: str) -> None:
    assert format_result(result) == text
