"""The Agents SDK for Python talks to the gateway: its RealtimeSession is a stock client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appliance.link.engine import ToolCall
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.realtime.teller import Teller
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.realtime.caller import Caller

agents = pytest.importorskip("agents.realtime")
function_tool = pytest.importorskip("agents").function_tool


class AgentCaller(Caller):
    """A RealtimeSession of the Agents SDK."""

    def __init__(self, session: Any) -> None:
        self.session = session
        super().__init__()

    async def _receive(self) -> None:
        async for event in self.session:
            self._received(event)

    async def append(self, pcm: bytes) -> None:
        await self.session.send_audio(pcm)

    def said(self, role: str) -> list[str]:
        """Return what the SDK's history shows of this role."""
        items = self.of("history_updated")[-1].history if self.of("history_updated") else []
        items = items or [event.item for event in self.of("history_added")]
        messages = [item for item in items if item.type == "message" and item.role == role]
        parts = [part for item in messages for part in item.content]
        return [
            str(getattr(part, "transcript", None) or getattr(part, "text", "")) for part in parts
        ]


@contextlib.asynccontextmanager
async def call(gateway: RunningGateway, *tools: Any) -> AsyncIterator[AgentCaller]:
    """Connect as the SDK's documentation says, apart from the address."""
    agent = agents.RealtimeAgent(name="Assistant", instructions="Be brief.", tools=list(tools))
    runner = agents.RealtimeRunner(starting_agent=agent)
    url = f"ws://{gateway.address}/v1/realtime?model=gpt-realtime"
    config = {"api_key": TOKEN, "url": url}
    async with await runner.run(model_config=config) as session:
        caller = AgentCaller(session)
        try:
            yield caller
        finally:
            await caller.close()


async def test_a_typed_question_is_answered(gateway: RunningGateway) -> None:
    async with call(gateway) as caller:
        await caller.session.send_message("the weather")
        await caller.event("audio")
        await caller.event("agent_end")
        assert "You wrote the weather." in caller.said("assistant")
        assert not caller.of("error")


async def test_a_spoken_question_is_answered_and_interrupted(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    reply = "This is a long story about a king. " * 12
    async with make_gateway(ScriptedLLM(reply)) as gateway, call(gateway) as caller:
        caller.open_microphone()
        await caller.say(speak("What is the capital of France?"))
        await caller.event("audio", 10)
        await caller.say(speak("No, stop it, please tell me about the weather instead."))
        await caller.event("audio_interrupted")
        await caller.event("agent_end")
        assert any("milliseconds" in text for text in caller.said("user"))
        assert not caller.of("error")


async def test_an_application_interrupts_the_bot(make_gateway: MakeGateway) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        await caller.session.send_message("a story")
        await caller.event("audio", 8)
        await caller.session.interrupt()
        await caller.event("audio_interrupted")
        await caller.session.send_message("something else")
        await caller.event("agent_end", 2)
        assert caller.said("assistant")[-1] == "Fine."
        assert not caller.of("error")


async def test_a_function_tool_is_called_and_its_result_spoken(make_gateway: MakeGateway) -> None:
    opened: list[int] = []

    @function_tool  # type: ignore[untyped-decorator]
    def open_door(number: int) -> str:
        """Opens a door."""
        opened.append(number)
        return f"Door {number} is open."

    llm = ScriptedLLM(ToolCall("open_door", '{"number": 2}'), "It is open.")
    async with (
        make_gateway(llm, realtime_client_settings=True) as gateway,
        call(gateway, open_door) as caller,
    ):
        await caller.session.send_message("Open door two.")
        await caller.event("tool_end")
        await caller.event("audio")
        await caller.wait_until(lambda: "It is open." in caller.said("assistant"))
        assert opened == [2]
        assert not caller.of("error")
        (tool,) = [tool for tool in gateway.llm_engine.offered[0] if tool.name == "open_door"]
        assert tool.description == "Opens a door."
    assert llm.conversation(0)[0][1] == "Be brief."
    assert llm.conversation(1)[-1] == ("tool", "Door 2 is open.", False)
