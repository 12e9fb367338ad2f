"""Tools in calls, on the real pipeline with instant engines that ask for them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pipecat.services.llm_service import FunctionCallParams

from appliance.errors import BadSetting
from appliance.gateway import server
from appliance.gateway import tools as toolbox
from appliance.gateway.history import INTERRUPTED
from appliance.gateway.reply import COULD_NOT, FAILED, MAX_CALLS, TOO_SLOW
from appliance.link.engine import ToolCall
from appliance.settings import LLMConfig, Settings
from tests.gateway.conftest import TOKEN, MakeGateway, Mind, RunningGateway

Offer = Callable[[Callable[..., Awaitable[None]]], dict[str, dict[str, Any]]]
PAGE = Path(__file__).parents[2] / "docs" / "tools.md"


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Adds a tool to the list, and gives the settings that offer it, with half a second to run."""

    def add(tool: Callable[..., Awaitable[None]]) -> dict[str, dict[str, Any]]:
        monkeypatch.setattr(toolbox, "TOOLS", (*toolbox.TOOLS, tool))
        return {"llm": {"tools": (tool.__name__,), "tool_seconds": 0.5}}

    return add


def asked(gateway: RunningGateway, outcome: str) -> float:
    return gateway.metric("voice_tool_calls_total", outcome=outcome)


async def test_the_model_gets_the_result_and_goes_on_with_the_answer(
    make_gateway: MakeGateway,
) -> None:
    mind = Mind(ToolCall("current_time"), "It is noon.", "You are welcome.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("What time is it?")
        turn = await caller.turn(1)
        assert (turn["outcome"], turn["reply_text"]) == ("answered", "It is noon.")
        assert len(caller.turns) == 1
        await caller.type("Thank you.")
        await caller.turn(2)
        assert gateway.tracebacks() == []
        assert asked(gateway, "done") == 1
        offered = [[tool.name for tool in tools] for tools in gateway.thinker.offered]
    assert offered == [["current_time", "end_call"]] * 3
    question, call, result = mind.past(1)[1:]
    assert question == ("user", "What time is it?", False)
    assert call == ("assistant", '{"name": "current_time", "parameters": {}}', False)
    assert result[0] == "tool"
    assert re.fullmatch(r"\d+:\d\d [AP]M on \w+day, \w+ \d+, \d{4}", result[1])
    assert mind.past(2)[1:] == [
        question,
        call,
        result,
        ("assistant", "It is noon.", False),
        ("user", "Thank you.", False),
    ]


async def test_a_call_that_cannot_be_read_is_spoken_about_and_never_run(
    make_gateway: MakeGateway,
) -> None:
    mind = Mind(ToolCall(), "Fine.", ToolCall("format_disk"))
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("Do something.")
        assert (await caller.turn(1))["reply_text"] == COULD_NOT
        await caller.type("Never mind.")
        assert (await caller.turn(2))["reply_text"] == "Fine."
        await caller.type("Format the disk.")
        assert (await caller.turn(3))["reply_text"] == COULD_NOT
        assert gateway.tracebacks() == []
        assert asked(gateway, "unreadable") == 2
    assert [text for _, text, _ in mind.past(1)[1:]] == ["Do something.", COULD_NOT, "Never mind."]


async def test_arguments_reach_the_tool_and_what_is_no_text_becomes_json(
    make_gateway: MakeGateway, offer: Offer
) -> None:
    async def add(params: FunctionCallParams, numbers: list[int]) -> None:
        """Adds numbers."""
        await params.result_callback({"sum": sum(numbers)})

    mind = Mind(ToolCall("add", '{"numbers": [1, 2]}'), "Three.")
    async with make_gateway(mind, sections=offer(add)) as gateway:
        caller = await gateway.call()
        await caller.type("One and two?")
        assert (await caller.turn(1))["reply_text"] == "Three."
        (tool,) = gateway.thinker.offered[0]
    assert json.loads(tool.parameters)["properties"]["numbers"]["type"] == "array"
    assert mind.past(1)[-1] == ("tool", '{"sum": 3}', False)


async def fail(params: FunctionCallParams) -> None:
    """Fails."""
    raise RuntimeError("a secret of the caller")


async def hang(params: FunctionCallParams) -> None:
    """Takes for ever."""
    await asyncio.Event().wait()


async def forget(params: FunctionCallParams) -> None:
    """Never says what came of it."""


@pytest.mark.parametrize(
    ("tool", "outcome", "told"),
    [(fail, "failed", FAILED), (hang, "too_slow", TOO_SLOW), (forget, "too_slow", TOO_SLOW)],
)
async def test_a_tool_that_fails_is_told_to_the_model_and_the_call_goes_on(
    make_gateway: MakeGateway,
    offer: Offer,
    tool: Callable[..., Awaitable[None]],
    outcome: str,
    told: str,
) -> None:
    mind = Mind(ToolCall(tool.__name__), "That did not work.", "Here I am.")
    async with make_gateway(mind, sections=offer(tool)) as gateway:
        caller = await gateway.call()
        await caller.type("Try it.")
        assert (await caller.turn(1))["reply_text"] == "That did not work."
        await caller.type("Are you there?")
        assert (await caller.turn(2))["outcome"] == "answered"
        assert asked(gateway, outcome) == 1
        assert b"a secret" not in gateway.raw_log()
    assert mind.past(1)[-1] == ("tool", told, False)
    assert "a secret" not in repr(caller.frames)


async def test_a_model_that_goes_on_calling_has_to_answer_in_the_end(
    make_gateway: MakeGateway,
) -> None:
    mind = Mind(ToolCall("current_time"))
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("What time is it?")
        assert (await caller.turn(1))["reply_text"] == COULD_NOT
        assert asked(gateway, "done") == MAX_CALLS
        assert gateway.thinker.offered[-1] == []
    assert len(mind.told) == MAX_CALLS + 1


async def test_an_interruption_cancels_a_running_tool_and_the_model_is_told(
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
    mind = Mind(ToolCall("book"), "Very well.")
    async with make_gateway(mind, sections=sections) as gateway:
        caller = await gateway.call()
        await caller.type("Book a table.")
        await caller.until(lambda: events)
        await caller.type("Stop, not today.")
        assert (await caller.turn(1))["outcome"] == "interrupted"
        assert (await caller.turn(2))["reply_text"] == "Very well."
        assert gateway.tracebacks() == []
    assert events == ["began", "cancelled"]
    # What may have been done is not asked for a second time, as a question merely repeated is.
    assert mind.past(1)[1:] == [
        ("user", "Book a table.", False),
        ("assistant", '{"name": "book", "parameters": {}}', False),
        ("tool", INTERRUPTED, False),
        ("user", "Stop, not today.", False),
    ]


async def test_no_tool_outlives_its_call(make_gateway: MakeGateway, offer: Offer) -> None:
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
    async with make_gateway(Mind(ToolCall("wait")), sections=sections) as gateway:
        caller = await gateway.call()
        await caller.type("Wait.")
        await caller.until(lambda: events)
        await caller.hang_up()
        await gateway.everybody_left()
        assert events == ["began", "ended"]
        assert gateway.tracebacks() == []


async def test_after_a_loss_of_the_mind_the_answer_is_asked_for_again_and_the_tool_is_not(
    make_gateway: MakeGateway, offer: Offer
) -> None:
    runs: list[str] = []

    async def order(params: FunctionCallParams) -> None:
        """Orders a pizza."""
        runs.append("ordered")
        gateway.thinker.pause_seconds = 600
        await params.result_callback("It comes at eight.")

    mind = Mind(ToolCall("order"), "At eight.", "At eight.")
    async with make_gateway(mind, sections=offer(order)) as gateway:
        caller = await gateway.call()
        await caller.type("A pizza, please.")
        await caller.until(lambda: len(mind.told) == 2)
        await gateway.llm.die()
        gateway.thinker.pause_seconds = 0
        await caller.bot_speaks()  # "One moment, please."
        await gateway.llm.start()
        assert (await caller.turn(1))["reply_text"] == "At eight."
    assert runs == ["ordered"]
    assert mind.past(2) == mind.past(1)


async def test_the_model_may_end_the_call_with_a_goodbye_that_is_heard_to_its_end(
    make_gateway: MakeGateway,
) -> None:
    words = "It was a pleasure. Thank you for calling, and have a good day. Goodbye."
    async with make_gateway(Mind(ToolCall("end_call"), words)) as gateway:
        caller = await gateway.call()
        await caller.type("That was all, goodbye.")
        code, reason = await caller.ended()
        await gateway.everybody_left()
        spoken = " ".join(gateway.voice.phrases[1:])
        assert gateway.metric("voice_sessions_total", outcome="hung_up") == 1
        assert gateway.tracebacks() == []
    assert (code, str(reason).split(":")[0]) == (1000, "hung_up")
    assert spoken == words
    assert len(caller.audio) / 48_000 > 0.055 * len(words)  # the fake voice: 60 ms a character
    (turn,) = caller.turns
    assert (turn["outcome"], turn["reply_text"]) == ("answered", words)


async def test_a_call_ended_without_a_goodbye_ends(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind(ToolCall("end_call"), "")) as gateway:
        caller = await gateway.call()
        await caller.type("Just hang up.")
        code, reason = await caller.ended()
    assert (code, str(reason).split(":")[0]) == (1000, "hung_up")


async def test_a_caller_who_interrupts_the_goodbye_keeps_the_call(
    make_gateway: MakeGateway,
) -> None:
    words = "Thank you for calling. " * 8 + "Goodbye."
    async with make_gateway(Mind(ToolCall("end_call"), words, "Of course.")) as gateway:
        caller = await gateway.call()
        await caller.type("Goodbye.")
        await caller.bot_speaks()
        await caller.type("Wait, one more thing.")
        assert (await caller.turn(2))["reply_text"] == "Of course."
        assert not caller.closed


async def test_an_unknown_tool_stops_the_gateway_at_the_start(tmp_path: Path) -> None:
    settings = Settings(llm=LLMConfig(tools=("current_time", "fly")))
    with pytest.raises(BadSetting, match="'fly'"):
        server.GatewayServer(settings, TOKEN)


async def test_a_tool_of_ones_own_is_added_as_the_page_says(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    the_file, the_list = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (offered,) = re.findall(r"`VOICE_LLM_TOOLS=(\S+)`", PAGE.read_text())
    written = compile(the_file, "opening_hours.py", "exec")
    exec(written, vars(toolbox))  # what the import into toolbox.py brings
    monkeypatch.setattr(toolbox, "TOOLS", toolbox.TOOLS)  # put back at the end
    exec(the_list, vars(toolbox))
    mind = Mind(ToolCall("opening_hours", '{"day": "Sunday"}'), "We are closed.")
    async with make_gateway(mind, sections={"llm": {"tools": offered.split(",")}}) as gateway:
        caller = await gateway.call()
        await caller.type("Are you open on Sunday?")
        assert (await caller.turn(1))["reply_text"] == "We are closed."
        tool = gateway.thinker.offered[0][2]
    assert tool.description == "Tells when the shop is open on a day of the week."
    assert json.loads(tool.parameters) == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "description": "The day of the week, in English."}
        },
        "required": ["day"],
    }
    assert mind.past(1)[-1] == ("tool", "closed", False)
