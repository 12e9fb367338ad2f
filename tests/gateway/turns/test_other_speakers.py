"""Other people near the caller, on the real gateway with instant engines."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from appliance.gateway.turns import endpointing
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway
from tests.gateway.turns.levels import at_level, pcm

QUESTION = "What is the capital of France?"
CALLER_DBFS = -20
SECOND = 2 * 16_000  # bytes
CONVERSATIONS = (
    "Did you bring the forms from the other office this morning?",
    "We have to move the bed before the doctor comes back again.",
    "She said that the train was late, and nobody knew the reason.",
    "There is some coffee left in the kitchen, if you would like it.",
    "I will look for the keys in the car after lunch, I promise.",
    "The window does not close, and somebody has to repair it soon.",
)


async def test_far_speaker_is_not_answered(make_gateway: MakeGateway, speak: Speak) -> None:
    llm = ScriptedLLM("It is Paris.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        question = at_level(speak(QUESTION), CALLER_DBFS)
        await client.say(question)
        await client.turn(1)
        await client.say(bytes(SECOND) + at_level(speak(CONVERSATIONS[0]), CALLER_DBFS - 22))
        await client.say(bytes(3 * SECOND))
        await client.say(question)
        turn = await client.turn(2)
        assert gateway.logged_errors() == []
        assert gateway.metric("voice_bot_pauses_total", outcome="interrupted") == 0
    assert (turn["outcome"], len(client.turns)) == ("answered", 2)
    assert [role for role, _, _ in llm.conversation(-1)[1:]] == ["user", "assistant", "user"]


async def test_speaker_as_loud_as_the_caller_is_answered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    """Without this, the test above would pass if nobody was heard after the first turn."""
    async with make_gateway(ScriptedLLM("I see.")) as gateway:
        client = await gateway.connect()
        await client.say(at_level(speak(QUESTION), CALLER_DBFS))
        await client.turn(1)
        await client.say(bytes(SECOND) + at_level(speak(CONVERSATIONS[0]), CALLER_DBFS))
        assert (await client.turn(2))["outcome"] == "answered"


async def test_babble_does_not_keep_a_turn_open(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six voices without a break are one voice for the detector. It may last 60 s."""
    monkeypatch.setattr(endpointing, "LONGEST_TURN_SECONDS", 6.0)
    async with make_gateway(ScriptedLLM("It is Paris.")) as gateway:
        client = await gateway.connect()
        await client.say(at_level(speak(QUESTION), CALLER_DBFS))
        talking = asyncio.create_task(client.say(babble(speak, seconds=30, dbfs=CALLER_DBFS - 5)))
        await client.wait_until(lambda: "answered" in [turn["outcome"] for turn in client.turns])
        assert not talking.done(), "the turn ended only when the others were silent"
        talking.cancel()
        assert gateway.logged_errors() == []


def babble(speak: Speak, seconds: int, dbfs: float) -> bytes:
    """Return six people who talk without a break."""
    total = np.zeros(seconds * SECOND // 2)
    for number, text in enumerate(CONVERSATIONS):
        voice = np.frombuffer(speak(text), "<i2") / 32768
        total += np.roll(np.resize(voice, len(total)), number * 7_000)
    return at_level(pcm(total / np.abs(total).max()), dbfs)
