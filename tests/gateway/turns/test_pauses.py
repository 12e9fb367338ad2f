"""Long pauses within a reply, as on an overloaded machine, on the real pipeline.

Pipecat reports that the bot stopped speaking after some seconds without audio. Other parts must
not take this as the end of the reply. The tests shorten Pipecat's delay and insert longer pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from pipecat.transports import base_output

from appliance.link.engine import OUTPUT_SAMPLE_RATE, ToolCall
from appliance.settings import Settings
from tests.fakes import InstantTTSEngine, InstantTTSSession, tone
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway

PIPECAT_SILENCE_SECONDS = 0.2
PAUSE_SECONDS = 0.8
REPLY = "The river that flows through Paris is the Seine. It is long. It ends in the sea."


class PausingVoice(InstantTTSSession):
    """Pauses before every phrase of a reply except the first, and in the middle of each phrase."""

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
    monkeypatch.setattr(base_output, "BOT_VAD_STOP_FALLBACK_SECS", PIPECAT_SILENCE_SECONDS)
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: PausingVoice(engine))


async def test_reply_with_long_pauses_is_fully_reported_and_remembered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(REPLY, "Yes.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.say(speak("Which river flows through Paris?"))
        turn = await client.turn(1)
        pauses = len(client.messages("bot-stopped-speaking"))
        await client.type("Are you sure?")
        await client.turn(2)
    assert pauses > 1, "Pipecat must have reported a stop within the reply"
    assert turn["outcome"] == "answered"
    assert turn["reply_text"] == REPLY
    assert [text for role, text, _ in llm.conversation(1) if role == "assistant"] == [REPLY]


async def test_only_the_heard_part_of_a_reply_interrupted_in_a_pause_is_remembered(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM(REPLY, "Yes.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("Which river flows through Paris?")
        await client.wait_until(lambda: len(client.messages("bot-stopped-speaking")) > 1)
        await client.type("Are you sure?")
        interrupted, complete = await client.turn(1), await client.turn(2)
    assert (interrupted["outcome"], interrupted["interrupted"]) == ("interrupted", True)
    assert interrupted["reply_text"] and REPLY.startswith(interrupted["reply_text"])
    assert [text for role, text, _ in llm.conversation(1) if role == "assistant"] == [
        interrupted["reply_text"]
    ]
    assert complete["reply_text"] == "Yes."


async def test_reply_around_a_tool_call_is_fully_reported(
    make_gateway: MakeGateway,
) -> None:
    reply = "Let me look at the clock, this takes me only a moment."
    llm = ScriptedLLM(ToolCall("current_time", "{}"), reply)
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("What time is it?")
        assert (await client.turn(1))["reply_text"] == reply


async def test_engine_loss_mid_reply_plays_hold_message_first(
    make_gateway: MakeGateway,
) -> None:
    hold_message, beginning = "One moment, please.", "The river that flows"
    async with make_gateway(ScriptedLLM(REPLY)) as gateway:
        client = await gateway.connect()
        gateway.llm_engine.pause_seconds = 0.2
        await client.type("Which river flows through Paris?")
        await client.wait_until(lambda: client.messages("bot-started-speaking"))
        await gateway.llm_process.kill()
        # The first hold message was synthesized at start-up.
        await gateway.wait_until(lambda: gateway.tts_engine.phrases.count(hold_message) > 1)
        gateway.llm_engine.pause_seconds = 0
        await gateway.llm_process.start()
        turn = await client.turn(1)
        spoken = [message.text() for message in client.messages("bot-tts-text")]
    assert spoken[0].startswith(beginning) and spoken.count(hold_message) == 1
    assert " ".join(spoken[spoken.index(hold_message) + 1 :]) == REPLY
    assert turn["outcome"] == "answered"
    assert turn["reply_text"].startswith(beginning) and turn["reply_text"].endswith(REPLY)
    assert hold_message not in turn["reply_text"]


async def test_greeting_with_a_long_pause_is_fully_remembered(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM("Yes.")
    greeting = "Hello, this is the river service. What do you want to know?"
    async with make_gateway(llm, sections={"llm": {"greeting": greeting}}) as gateway:
        client = await gateway.connect()
        await client.wait_until(lambda: client.messages("bot-tts-stopped"))
        await client.wait_until(lambda: len(client.messages("bot-stopped-speaking")) > 1)
        await asyncio.sleep(PAUSE_SECONDS)
        await client.type("Are you there?")
        await client.turn(1)
    assert [text for role, text, _ in llm.conversation(0) if role == "assistant"] == [greeting]


async def test_reply_without_speakable_text_ends_immediately(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(ScriptedLLM("🙂")) as gateway:
        client = await gateway.connect()
        await client.type("Smile!")
        assert (await client.turn(1))["outcome"] == "answered"


class StallingVoice(InstantTTSSession):
    """Stops after a second of the first phrase of REPLY, as on an overloaded machine."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        self._engine.phrases.append(text)
        for _ in range(5):
            yield tone(0.2)
        if REPLY.startswith(text):
            await asyncio.Event().wait()


async def test_words_played_before_a_stall_of_the_synthesis_are_remembered(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audio has run dry when the user interrupts, so all that was sent was heard."""
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: StallingVoice(engine))
    llm = ScriptedLLM(REPLY, "Yes.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("Which river flows through Paris?")
        await client.wait_until(lambda: len(client.audio) >= 0.99 * 2 * OUTPUT_SAMPLE_RATE)
        await asyncio.sleep(Settings().gateway.lead_seconds + 0.1)  # until it is played
        await client.type("Are you sure?")
        interrupted = await client.turn(1)
        await client.turn(2)
    # A second is 17 letters.
    assert interrupted["reply_text"] == "The river that"
    assert ("assistant", "The river that", False) in llm.conversation(1)


async def test_hold_message_is_not_taken_for_words_of_the_reply(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: InstantTTSSession(engine))
    llm = ScriptedLLM(REPLY, "Yes.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await gateway.tts_process.kill()
        await client.type("Which river flows through Paris?")
        await client.wait_until(lambda: len(client.audio) >= 1.1 * 2 * OUTPUT_SAMPLE_RATE)
        await asyncio.sleep(Settings().gateway.lead_seconds + 0.1)  # until it is played
        await client.type("Are you sure?")
        await gateway.tts_process.start()
        assert (await client.turn(2))["reply_text"] == "Yes."
    assert [turn for turn in llm.conversation(1) if turn[0] == "assistant"] == []


async def test_reply_counts_as_heard_only_when_its_last_words_are_played(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it was sent when the user interrupts, and little of it was played."""
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: InstantTTSSession(engine))
    llm = ScriptedLLM(REPLY * 10, "Yes.")
    async with make_gateway(llm, lead_seconds=600.0) as gateway:
        client = await gateway.connect()
        await client.type("Which river flows through Paris?")
        await client.wait_until(lambda: client.messages("bot-stopped-speaking"))
        await client.type("Are you sure?")
        answered = await client.turn(2)
        outcomes = [turn["outcome"] for turn in client.turns]
        heard = "".join(text for role, text, _ in llm.conversation(1) if role == "assistant")
    assert answered["reply_text"] == "Yes."
    assert outcomes[0] in ("interrupted", "joined")  # joined: not a word was played
    assert len(heard) < len(REPLY * 10) / 2
