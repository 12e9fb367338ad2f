"""Tool calls in the real pipeline, with fake engines that reply immediately."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pipecat.services.llm_service import FunctionCallParams

from appliance.errors import BadSetting
from appliance.gateway import server
from appliance.gateway.generation import tools
from appliance.gateway.generation.history import INTERRUPTED
from appliance.gateway.generation.reply import MAX_TOOL_CALLS, TOOL_CALL_FAILED_TEXT
from appliance.gateway.generation.tool_result import FAILED, TIMED_OUT
from appliance.link.engine import ToolCall
from appliance.settings import LLMConfig, PathsConfig, Settings
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway, gatekeeper_of

Offer = Callable[[Callable[..., Awaitable[None]]], dict[str, dict[str, Any]]]
ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "tools.md"


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """A function that registers a tool and returns settings to offer it (timeout 0.5 s)."""

    def add(tool: Callable[..., Awaitable[None]]) -> dict[str, dict[str, Any]]:
        monkeypatch.setattr(tools, "TOOLS", (*tools.TOOLS, tool))
        return {"llm": {"tools": (tool.__name__,), "tool_seconds": 0.5}}

    return add


def call_count(gateway: RunningGateway, outcome: str) -> float:
    return gateway.metric("voice_tool_calls_total", outcome=outcome)


async def test_model_continues_the_reply_with_the_tool_result(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM(ToolCall("current_time"), "It is noon.", "You are welcome.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("What time is it?")
        turn = await client.turn(1)
        assert (turn["outcome"], turn["reply_text"]) == ("answered", "It is noon.")
        assert len(client.turns) == 1
        await client.type("Thank you.")
        await client.turn(2)
        assert gateway.logged_errors() == []
        assert call_count(gateway, "done") == 1
        offered = [[tool.name for tool in offer] for offer in gateway.llm_engine.offered]
    assert offered == [["current_time", "end_call"]] * 3
    question, call, result = llm.conversation(1)[1:]
    assert question == ("user", "What time is it?", False)
    assert call == ("assistant", '{"name": "current_time", "parameters": {}}', False)
    assert result[0] == "tool"
    assert re.fullmatch(r"\d+:\d\d [AP]M on \w+day, \w+ \d+, \d{4}", result[1])
    assert llm.conversation(2)[1:] == [
        question,
        call,
        result,
        ("assistant", "It is noon.", False),
        ("user", "Thank you.", False),
    ]


async def test_malformed_call_is_not_run_and_plays_an_apology(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM(ToolCall(), "Fine.", ToolCall("format_disk"))
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("Do something.")
        assert (await client.turn(1))["reply_text"] == TOOL_CALL_FAILED_TEXT
        await client.type("Never mind.")
        assert (await client.turn(2))["reply_text"] == "Fine."
        await client.type("Format the disk.")
        assert (await client.turn(3))["reply_text"] == TOOL_CALL_FAILED_TEXT
        assert gateway.logged_errors() == []
        assert call_count(gateway, "malformed") == 2
    assert [text for _, text, _ in llm.conversation(1)[1:]] == [
        "Do something.",
        TOOL_CALL_FAILED_TEXT,
        "Never mind.",
    ]


async def test_arguments_reach_the_tool_and_a_structured_result_becomes_json(
    make_gateway: MakeGateway, offer: Offer
) -> None:
    async def add(params: FunctionCallParams, numbers: list[int]) -> None:
        """Adds numbers."""
        await params.result_callback({"sum": sum(numbers)})

    llm = ScriptedLLM(ToolCall("add", '{"numbers": [1, 2]}'), "Three.")
    async with make_gateway(llm, sections=offer(add)) as gateway:
        client = await gateway.connect()
        await client.type("One and two?")
        assert (await client.turn(1))["reply_text"] == "Three."
        (tool,) = gateway.llm_engine.offered[0]
    assert json.loads(tool.parameters)["properties"]["numbers"]["type"] == "array"
    assert llm.conversation(1)[-1] == ("tool", '{"sum": 3}', False)


async def fail(params: FunctionCallParams) -> None:
    """Fails."""
    raise RuntimeError("a secret of the caller")


async def hang(params: FunctionCallParams) -> None:
    """Never returns."""
    await asyncio.Event().wait()


async def forget(params: FunctionCallParams) -> None:
    """Never calls the result callback."""


@pytest.mark.parametrize(
    ("tool", "outcome", "text"),
    [(fail, "failed", FAILED), (hang, "too_slow", TIMED_OUT), (forget, "too_slow", TIMED_OUT)],
)
async def test_tool_failure_or_timeout_is_reported_to_the_model_and_the_session_continues(
    make_gateway: MakeGateway,
    offer: Offer,
    tool: Callable[..., Awaitable[None]],
    outcome: str,
    text: str,
) -> None:
    llm = ScriptedLLM(ToolCall(tool.__name__), "That did not work.", "Here I am.")
    async with make_gateway(llm, sections=offer(tool)) as gateway:
        client = await gateway.connect()
        await client.type("Try it.")
        assert (await client.turn(1))["reply_text"] == "That did not work."
        await client.type("Are you there?")
        assert (await client.turn(2))["outcome"] == "answered"
        assert call_count(gateway, outcome) == 1
        assert b"a secret" not in gateway.raw_log()
    assert llm.conversation(1)[-1] == ("tool", text, False)
    assert "a secret" not in repr(client.frames)


async def test_model_that_keeps_calling_tools_is_finally_offered_none(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM(ToolCall("current_time"))
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("What time is it?")
        assert (await client.turn(1))["reply_text"] == TOOL_CALL_FAILED_TEXT
        assert call_count(gateway, "done") == MAX_TOOL_CALLS
        assert gateway.llm_engine.offered[-1] == []
    assert len(llm.conversations) == MAX_TOOL_CALLS + 1


async def test_interruption_cancels_a_running_tool_and_is_shown_to_the_model(
    make_gateway: MakeGateway, offer: Offer
) -> None:
    events: list[str] = []

    async def book(params: FunctionCallParams) -> None:
        """Books a table."""
        events.append("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    sections = offer(book)
    sections["llm"]["tool_seconds"] = 600.0
    llm = ScriptedLLM(ToolCall("book"), "Very well.")
    async with make_gateway(llm, sections=sections) as gateway:
        client = await gateway.connect()
        await client.type("Book a table.")
        await client.wait_until(lambda: events)
        await client.type("Stop, not today.")
        assert (await client.turn(1))["outcome"] == "interrupted"
        assert (await client.turn(2))["reply_text"] == "Very well."
        assert gateway.logged_errors() == []
    assert events == ["began", "cancelled"]
    # Not joined with the next question, because the tool may have had side effects.
    assert llm.conversation(1)[1:] == [
        ("user", "Book a table.", False),
        ("assistant", '{"name": "book", "parameters": {}}', False),
        ("tool", INTERRUPTED, False),
        ("user", "Stop, not today.", False),
    ]


async def test_running_tool_is_cancelled_when_the_client_disconnects(
    make_gateway: MakeGateway, offer: Offer
) -> None:
    events: list[str] = []

    async def wait(params: FunctionCallParams) -> None:
        """Waits."""
        events.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    sections = offer(wait)
    sections["llm"]["tool_seconds"] = 600.0
    async with make_gateway(ScriptedLLM(ToolCall("wait")), sections=sections) as gateway:
        client = await gateway.connect()
        await client.type("Wait.")
        await client.wait_until(lambda: events)
        await client.disconnect()
        await gateway.wait_sessions_closed()
        assert events == ["began", "ended"]
        assert gateway.logged_errors() == []


async def test_engine_loss_after_a_tool_call_repeats_the_reply_but_not_the_tool(
    make_gateway: MakeGateway, offer: Offer
) -> None:
    runs: list[str] = []

    async def order(params: FunctionCallParams) -> None:
        """Orders a pizza."""
        runs.append("ordered")
        gateway.llm_engine.pause_seconds = 600
        await params.result_callback("It comes at eight.")

    llm = ScriptedLLM(ToolCall("order"), "At eight.", "At eight.")
    async with make_gateway(llm, sections=offer(order)) as gateway:
        client = await gateway.connect()
        await client.type("A pizza, please.")
        await client.wait_until(lambda: len(llm.conversations) == 2)
        await gateway.llm_process.kill()
        gateway.llm_engine.pause_seconds = 0
        await client.wait_bot_speaking()  # "One moment, please."
        await gateway.llm_process.start()
        assert (await client.turn(1))["reply_text"] == "At eight."
    assert runs == ["ordered"]
    assert llm.conversation(2) == llm.conversation(1)


async def test_end_call_hangs_up_after_the_goodbye_was_played(
    make_gateway: MakeGateway,
) -> None:
    words = "It was a pleasure. Thank you for calling, and have a good day. Goodbye."
    async with make_gateway(ScriptedLLM(ToolCall("end_call"), words)) as gateway:
        client = await gateway.connect()
        typed_at = time.monotonic()
        await client.type("That was all, goodbye.")
        code, reason = await client.wait_closed()
        closed_at = time.monotonic()
        await gateway.wait_sessions_closed()
        spoken = " ".join(gateway.tts_engine.phrases[1:])
        assert gateway.metric("voice_sessions_total", outcome="hung_up") == 1
        assert gateway.logged_errors() == []
    assert (code, str(reason).split(":")[0]) == (1000, "hung_up")
    assert spoken == words
    # The fake engine speaks 60 ms per character.
    audio_seconds = len(client.audio) / 48_000
    assert audio_seconds > 0.055 * len(words)
    # A client may stop its loudspeaker when the call is closed, so it has played all of it.
    assert closed_at - typed_at > audio_seconds
    (turn,) = client.turns
    assert (turn["outcome"], turn["reply_text"]) == ("answered", words)


async def test_end_call_without_a_goodbye_hangs_up_immediately(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM(ToolCall("end_call"), "")) as gateway:
        client = await gateway.connect()
        await client.type("Just hang up.")
        code, reason = await client.wait_closed()
    assert (code, str(reason).split(":")[0]) == (1000, "hung_up")


async def test_interrupting_the_goodbye_keeps_the_session(
    make_gateway: MakeGateway,
) -> None:
    words = "Thank you for calling. " * 8 + "Goodbye."
    async with make_gateway(ScriptedLLM(ToolCall("end_call"), words, "Of course.")) as gateway:
        client = await gateway.connect()
        await client.type("Goodbye.")
        await client.wait_bot_speaking()
        await client.type("Wait, one more thing.")
        assert (await client.turn(2))["reply_text"] == "Of course."
        assert not client.closed


async def test_unknown_tool_stops_the_gateway_at_start(tmp_path: Path) -> None:
    settings = Settings(
        llm=LLMConfig(tools=("current_time", "fly")), paths=PathsConfig(run=tmp_path)
    )
    with pytest.raises(BadSetting, match="'fly'"):
        server.GatewayServer(settings, gatekeeper_of(settings))


async def test_tool_added_as_documented_is_called(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, import_and_list = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (path,) = re.findall(r"such as\s+`(\S+)\.py`", PAGE.read_text())
    (offered,) = re.findall(r"`VOICE_LLM_TOOLS=(\S+)`", PAGE.read_text())
    module = types.ModuleType(path.replace("/", "."))
    exec(compile(code, f"{path}.py", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert Path(tools.__file__).parent == ROOT / Path(path).parent
    monkeypatch.setattr(tools, "TOOLS", tools.TOOLS)  # restored after the test
    exec(import_and_list, vars(tools))
    llm = ScriptedLLM(ToolCall("opening_hours", '{"day": "Sunday"}'), "We are closed.")
    async with make_gateway(llm, sections={"llm": {"tools": offered.split(",")}}) as gateway:
        client = await gateway.connect()
        await client.type("Are you open on Sunday?")
        assert (await client.turn(1))["reply_text"] == "We are closed."
        tool = gateway.llm_engine.offered[0][2]
    assert tool.description == "Tells when the shop is open on a day of the week."
    assert json.loads(tool.parameters) == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "description": "The day of the week, in English."}
        },
        "required": ["day"],
    }
    assert llm.conversation(1)[-1] == ("tool", "closed", False)
