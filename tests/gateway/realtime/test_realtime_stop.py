"""A Realtime client stops the bot, and asks something else, on the real gateway.

Each test asserts the same of all events: one response at a time, none that stays open, and no audio
outside of a response.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.espeak import Speak
from tests.gateway.realtime.teller import Teller
from tests.gateway.realtime.test_realtime import RealtimeCaller, call
from tests.gateway.running_gateway import MakeGateway

GREETING = "Hello and welcome to this appliance, how can I help you today?"
# Seconds between response.create and response.cancel: before the reply begins, and while it does.
DELAYS = (0, 0.02, 0.04, 0.05, 0.1)


async def add(caller: RealtimeCaller, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await caller.send("conversation.item.create", item=item)


def outcome(caller: RealtimeCaller) -> list[tuple[str, str]]:
    """Return status and words of each response. Raises AssertionError if they overlap."""
    running, ended = "", list[tuple[str, str]]()
    for event in caller.events:
        kind = event["type"]
        if kind == "response.created":
            assert not running
            running = event["response"]["id"]
        elif kind == "response.done":
            assert event["response"]["id"] == running
            running = ""
            content = [p for item in event["response"]["output"] for p in item["content"]]
            ended.append((event["response"]["status"], " ".join(p["transcript"] for p in content)))
        elif kind.startswith("response."):
            assert event["response_id"] == running
    assert not running
    return ended


async def ends_with_fine(caller: RealtimeCaller, responses: int) -> list[tuple[str, str]]:
    """Wait for the last response, which has to be the reply to "else". Return those before."""
    await caller.event("response.done", responses)
    *before, last = outcome(caller)
    assert last == ("completed", "Fine.")
    assert not caller.of("error")
    return before


async def test_a_question_that_waits_is_answered_after_a_cancel(make_gateway: MakeGateway) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 5)
        await add(caller, "else")
        await caller.send("response.cancel")
        await caller.send("response.create")
        ((status, _),) = await ends_with_fine(caller, 2)
        assert status == "cancelled"


@pytest.mark.parametrize("seconds", DELAYS)
async def test_a_reply_is_stopped_before_it_begins(
    make_gateway: MakeGateway, seconds: float
) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        await caller.type("a story")
        await asyncio.sleep(seconds)
        await caller.send("response.cancel")
        await caller.event("response.done")
        await asyncio.sleep(0.5)  # longer than an instant reply takes to begin
        ((status, _),) = outcome(caller)
        assert status == "cancelled"
        await caller.type("something else")
        await ends_with_fine(caller, 2)


@pytest.mark.parametrize("seconds", [0, 0.05])
async def test_the_greeting_is_stopped_before_it_begins(
    make_gateway: MakeGateway, seconds: float
) -> None:
    sections = {"llm": {"greeting": GREETING}}
    async with make_gateway(Teller(), sections=sections) as gateway, call(gateway) as caller:
        await caller.send("response.create")
        await asyncio.sleep(seconds)
        await caller.send("response.cancel")
        await caller.event("response.done")
        await asyncio.sleep(0.5)
        ((status, _),) = outcome(caller)
        assert status == "cancelled"
        await caller.type("something else")
        await ends_with_fine(caller, 2)


async def test_the_bot_is_stopped_and_asked_again_and_again(make_gateway: MakeGateway) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        for number in range(6):
            await caller.type("a story")
            await caller.event("response.created", number + 1)
            await caller.event("response.output_audio.delta", len(deltas(caller)) + 1)
            await caller.send("response.cancel")
            await asyncio.sleep(0.5)  # at most 10 messages a second
        await caller.type("something else")
        before = await ends_with_fine(caller, 7)
        assert [status for status, _ in before] == ["cancelled"] * 6


async def test_a_voice_stops_the_bot_and_opens_nothing(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        caller.open_microphone()
        await caller.type("a story")
        await caller.event("response.output_audio.delta", 10)
        await caller.say(speak("No, stop it, please tell me about the weather instead."))
        await caller.event("response.done")
        await caller.event("response.output_audio.delta", len(deltas(caller)) + 3)
        await caller.send("response.cancel")
        await caller.event("response.done", 2)
        assert [status for status, _ in outcome(caller)] == ["cancelled"] * 2


async def test_truncating_what_the_bot_says_stops_it(make_gateway: MakeGateway) -> None:
    async with make_gateway(Teller()) as gateway, call(gateway) as caller:
        await caller.type("a story")
        item = (await caller.event("response.output_audio.delta", 5))["item_id"]
        for fields in ({"audio_end_ms": 10**8}, {"audio_end_ms": 100, "content_index": 7}):
            truncation = {"item_id": item, "content_index": 0} | fields
            await caller.send("conversation.item.truncate", **truncation)
        await caller.event("error", 2)
        assert {error["error"]["code"] for error in caller.of("error")} == {"invalid_value"}
        caller.events = [event for event in caller.events if event["type"] != "error"]
        truncation = {"item_id": item, "content_index": 0, "audio_end_ms": 100}
        await caller.send("conversation.item.truncate", **truncation)
        assert (await caller.event("conversation.item.truncated"))["audio_end_ms"] == 100
        await caller.type("something else")
        ((status, _),) = await ends_with_fine(caller, 2)
        assert status == "cancelled"


def deltas(caller: RealtimeCaller) -> list[dict[str, Any]]:
    return caller.of("response.output_audio.delta")
