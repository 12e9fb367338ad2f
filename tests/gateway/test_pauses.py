"""Long silences within an answer, as a starved machine makes them, on the real pipeline.

Pipecat takes a voice that has nothing to say for some seconds for one that is done; nobody else
may. That time is made short here, and the pauses longer than it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from pipecat.transports import base_output

from appliance.link.engine import ToolCall
from tests.fakes import InstantVoiceEngine, InstantVoiceSession, tone
from tests.gateway.conftest import MakeGateway, Mind, Speak

PIPECATS_PATIENCE_SECONDS = 0.2
PAUSE_SECONDS = 0.8
REPLY = "The river that flows through Paris is the Seine. It is long. It ends in the sea."


class PausingVoice(InstantVoiceSession):
    """Is silent before every phrase but the first of an answer, and in the middle of it."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        self._engine.phrases.append(text)
        for part in range(2) if any(map(str.isalnum, text)) else ():
            if part or not urgent:
                await asyncio.sleep(PAUSE_SECONDS)
            yield tone(0.1)


@pytest.fixture(autouse=True)
def pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_output, "BOT_VAD_STOP_FALLBACK_SECS", PIPECATS_PATIENCE_SECONDS)
    monkeypatch.setattr(InstantVoiceEngine, "open", lambda engine: PausingVoice(engine))


async def test_an_answer_with_long_pauses_is_told_and_remembered_whole(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind(REPLY, "Yes.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.say(speak("Which river flows through Paris?"))
        turn = await caller.turn(1)
        pauses = len(caller.messages("bot-stopped-speaking"))
        await caller.type("Are you sure?")
        await caller.turn(2)
    assert pauses > 1, "Pipecat must have held the bot for silent within the answer"
    assert turn["outcome"] == "answered"
    assert turn["reply_text"] == REPLY
    assert [text for role, text, _ in mind.past(1) if role == "assistant"] == [REPLY]


async def test_an_answer_interrupted_in_a_pause_is_remembered_as_far_as_it_was_heard(
    make_gateway: MakeGateway,
) -> None:
    mind = Mind(REPLY, "Yes.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("Which river flows through Paris?")
        await caller.until(lambda: len(caller.messages("bot-stopped-speaking")) > 1)
        await caller.type("Are you sure?")
        cut, whole = await caller.turn(1), await caller.turn(2)
    assert (cut["outcome"], cut["interrupted"]) == ("interrupted", True)
    assert cut["reply_text"] and REPLY.startswith(cut["reply_text"])
    assert [text for role, text, _ in mind.past(1) if role == "assistant"] == [cut["reply_text"]]
    assert whole["reply_text"] == "Yes."


async def test_what_is_said_before_a_tool_is_told_together_with_what_comes_after_it(
    make_gateway: MakeGateway,
) -> None:
    said = "Let me look at the clock, this takes me only a moment."
    mind = Mind(ToolCall("current_time", "{}"), said)
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("What time is it?")
        assert (await caller.turn(1))["reply_text"] == said


async def test_who_loses_the_mind_within_an_answer_is_asked_for_patience_before_it_begins_anew(
    make_gateway: MakeGateway,
) -> None:
    apology, begun = "One moment, please.", "The river that flows"
    async with make_gateway(Mind(REPLY)) as gateway:
        caller = await gateway.call()
        gateway.thinker.pause_seconds = 0.2
        await caller.type("Which river flows through Paris?")
        await caller.until(lambda: caller.messages("bot-started-speaking"))
        await gateway.llm.die()
        await gateway.until(lambda: gateway.voice.phrases.count(apology) > 1)  # once at the start
        gateway.thinker.pause_seconds = 0
        await gateway.llm.start()
        turn = await caller.turn(1)
        said = [message.text() for message in caller.messages("bot-tts-text")]
    assert said[0].startswith(begun) and said.count(apology) == 1
    assert " ".join(said[said.index(apology) + 1 :]) == REPLY
    assert turn["outcome"] == "answered"
    assert turn["reply_text"].startswith(begun) and turn["reply_text"].endswith(REPLY)
    assert apology not in turn["reply_text"]


async def test_a_greeting_with_a_long_pause_is_remembered_whole(make_gateway: MakeGateway) -> None:
    mind = Mind("Yes.")
    greeting = "Hello, this is the river service. What do you want to know?"
    async with make_gateway(mind, sections={"llm": {"greeting": greeting}}) as gateway:
        caller = await gateway.call()
        await caller.until(lambda: caller.messages("bot-tts-stopped"))
        await caller.until(lambda: len(caller.messages("bot-stopped-speaking")) > 1)
        await asyncio.sleep(PAUSE_SECONDS)
        await caller.type("Are you there?")
        await caller.turn(1)
    assert [text for role, text, _ in mind.past(0) if role == "assistant"] == [greeting]


async def test_an_answer_of_which_nothing_can_be_spoken_is_over_at_once(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(Mind("🙂")) as gateway:
        caller = await gateway.call()
        await caller.type("Smile!")
        assert (await caller.turn(1))["outcome"] == "answered"
