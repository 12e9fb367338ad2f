"""The small engine with its real models: over the link, and with several sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.engines.llm.small.engine import (
    SmallEngine,
    find_model,
    find_recognizer,
    list_tools,
    with_short_recognizer,
)
from appliance.engines.llm.small.moonshine import Moonshine
from appliance.errors import BadSetting, MissingWeights
from appliance.gateway.generation.tool_executor import format_call
from appliance.gateway.generation.tools import offered_tools
from appliance.gateway.realtime.tools import ToolLimits, parse_tools
from appliance.link.engine import ChatMessage, GenerateRequest, ToolCall
from appliance.settings import LLMConfig, Settings
from tests.engines.llm.speech import synthesize
from tests.engines.llm.turns import hear, reply
from tests.link.contract import SpeechContract

WEIGHTS = Settings().paths.weights
SYSTEM = ChatMessage("system", Settings().llm.system_prompt)


class TestContract(SpeechContract):
    opening = (SYSTEM,)

    @pytest.fixture
    def spoken(self) -> bytes:
        return synthesize("What is the capital of France?")


async def test_concurrent_sessions_do_not_mix_their_conversations(engine: SmallEngine) -> None:
    async def ask_name(name: str) -> str:
        session = engine.open()
        conversation = [SYSTEM, ChatMessage("user", f"My name is {name}.")]
        text, _ = await reply(session, conversation)
        question = hear(session, 1, synthesize("What is my name?"))
        text, _ = await reply(session, [*conversation, ChatMessage("assistant", text), question])
        await session.close()
        return text

    clara, peter = await asyncio.gather(ask_name("Clara"), ask_name("Peter"))
    assert "Clara" in clara
    assert "Peter" not in clara
    assert "Peter" in peter
    assert "Clara" not in peter


def install(weights: Path, *names: str) -> None:
    for name in names:
        (weights / name).mkdir()
        (weights / name / "model.gguf").touch()


def test_unknown_model_is_refused_with_the_installed_ones(tmp_path: Path) -> None:
    install(tmp_path, "smaller", "larger")
    (tmp_path / "moonshine-tiny-en").mkdir()
    with pytest.raises(BadSetting) as refused:
        find_model(tmp_path, "samller")
    assert str(refused.value) == (
        "The setting llm.model is not usable: "
        "'samller' is not installed; the installed models are larger, smaller."
    )


def test_missing_default_model_is_not_replaced_by_another_model(tmp_path: Path) -> None:
    install(tmp_path, "another")
    with pytest.raises(MissingWeights, match="qwen"):
        find_model(tmp_path, Settings().llm.model)


def test_configured_model_is_reported_missing_when_no_model_is_installed(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="another"):
        find_model(tmp_path, "another")


def test_unknown_recognizer_is_a_bad_setting_and_a_missing_default_is_missing_weights(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadSetting, match="hearing_model"):
        find_recognizer(tmp_path, "whisper")
    with pytest.raises(MissingWeights):
        Moonshine(find_recognizer(tmp_path, Settings().llm.hearing_model), 1)


async def test_tools_are_those_that_the_gateway_offers() -> None:
    names = ("end_call", "current_time")
    assert await list_tools(names) == offered_tools(names)


async def test_unknown_tool_does_not_stop_the_engine() -> None:
    assert await list_tools(("format_disk",)) == ()
    assert await list_tools(()) == ()


async def test_first_prompt_of_a_call_was_read_when_the_engine_started(engine: SmallEngine) -> None:
    session, tools = engine.open(), offered_tools(Settings().llm.tools)
    question = ChatMessage("user", "Hello.")
    _, result = await reply(session, [SYSTEM, question], max_tokens=1, tools=tools)
    await session.close()
    assert result.stats["prompt_tokens"] > 400
    assert result.stats["prompt_tokens"] - result.stats["cached_tokens"] < 15


async def test_tool_is_called_and_its_result_is_spoken(engine: SmallEngine) -> None:
    session, tools = engine.open(), offered_tools(Settings().llm.tools)
    conversation = [SYSTEM, hear(session, 1, synthesize("What time is it?"))]
    text, result = await reply(session, conversation, tools=tools)
    assert (text, result.reason) == ("", "tool_call")
    call = ChatMessage("assistant", format_call(ToolCall("current_time")))
    conversation += [call, ChatMessage("tool", "3:10 PM on Sunday, November 22, 2026")]
    text, result = await reply(session, conversation, tools=tools)
    await session.close()
    assert result.reason == "stop"
    assert "3:10" in text or "three ten" in text.lower() or "ten past three" in text.lower()


async def test_tools_of_a_client_are_called_beside_those_of_the_appliance(
    engine: SmallEngine,
) -> None:
    name = {"type": "string", "description": "Name of the person."}
    given = [
        {
            "type": "function",
            "name": "account_balance",
            "description": "Tells the balance of the caller's account.",
        },
        {
            "type": "function",
            "name": "find_room",
            "description": "Tells in which room a person works.",
            "parameters": {"type": "object", "properties": {"name": name}, "required": ["name"]},
        },
    ]
    tools = (*offered_tools(Settings().llm.tools), *parse_tools(given, ToolLimits()))
    session = engine.open()

    async def call_for(question: str) -> ToolCall:
        request = GenerateRequest((SYSTEM, ChatMessage("user", question)), 60, 0.0, tools)
        chunks = [chunk async for chunk in session.generate(request)]
        (call,) = [chunk for chunk in chunks if isinstance(chunk, ToolCall)]
        return call

    room = await call_for("In which room does Anna Weber work?")
    assert room == ToolCall("find_room", '{"name": "Anna Weber"}')
    assert await call_for("What time is it?") == ToolCall("current_time")
    balance = await call_for("What is my balance?")
    assert balance == ToolCall("account_balance")
    conversation = [SYSTEM, ChatMessage("user", "What is my balance?")]
    conversation += [
        ChatMessage("assistant", format_call(balance)),
        ChatMessage("tool", "250 dollars"),
    ]
    text, result = await reply(session, conversation, tools=tools)
    await session.close()
    assert result.reason == "stop"
    assert "250" in text


def test_second_recognizer_can_be_switched_off(tmp_path: Path) -> None:
    live = Moonshine(find_recognizer(WEIGHTS, Settings().llm.hearing_model), 1)
    config = LLMConfig(short_recognizer="")
    assert with_short_recognizer(live, tmp_path, config) == live.recognize


def test_missing_second_recognizer_stops_the_engine(tmp_path: Path) -> None:
    live = Moonshine(find_recognizer(WEIGHTS, Settings().llm.hearing_model), 1)
    with pytest.raises(MissingWeights, match=LLMConfig().short_recognizer):
        with_short_recognizer(live, tmp_path, LLMConfig())


def test_unknown_second_recognizer_is_a_bad_setting(tmp_path: Path) -> None:
    live = Moonshine(find_recognizer(WEIGHTS, Settings().llm.hearing_model), 1)
    with pytest.raises(BadSetting, match="short_recognizer"):
        with_short_recognizer(live, tmp_path, LLMConfig(short_recognizer="missing"))
