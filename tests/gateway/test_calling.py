"""Which calls are run, and how calls and results are written down."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import LLMService

from appliance.gateway.llm_service import UltravoxAdapter
from appliance.gateway.reply import MAX_RESULT_CHARS, Calling, as_asked, written
from appliance.link.engine import ToolCall


class Service(LLMService[Any]):
    adapter_class = UltravoxAdapter


@pytest.fixture
def calling() -> Calling:
    service = Service()
    service.register_function("look_up", lambda params: None)
    return Calling(service, LLMContext())


@pytest.mark.parametrize(
    ("call", "known"),
    [
        (ToolCall("look_up"), True),
        (ToolCall("look_up", '{"word": "{"}'), True),
        (ToolCall(), False),
        (ToolCall("format_disk"), False),
        (ToolCall("look_up", "[]"), False),
        (ToolCall("look_up", "word"), False),
    ],
)
def test_only_what_is_known_and_readable_is_run(
    calling: Calling, call: ToolCall, known: bool
) -> None:
    assert calling.knows(call) is known


def test_a_call_without_a_name_is_not_run_by_a_service_that_runs_anything() -> None:
    service = Service()
    service.register_function(None, lambda params: None)
    assert not Calling(service, LLMContext()).knows(ToolCall())


def test_a_call_is_remembered_as_the_model_writes_one() -> None:
    call = ToolCall("look_up", '{"word":"Grüße"}')
    assert as_asked(call) == '{"name": "look_up", "parameters": {"word": "Grüße"}}'


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
def test_a_result_is_text_or_json_of_bounded_length(result: object, text: str) -> None:
    assert written(result) == text
