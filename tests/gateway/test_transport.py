"""The sound of a reply as a caller gets it."""

from __future__ import annotations

import time

from appliance.link.engine import SPOKEN_RATE
from tests.gateway.conftest import MakeGateway, Mind, Speak

PIECE_SECONDS = 0.04  # as Pipecat cuts the sound
LONG_ANSWER = "This answer goes on for some time. " * 4


async def test_a_reply_is_sent_with_the_lead_of_the_settings(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    question = speak("What is the capital of France?")
    for lead_seconds in (0.2, 60.0):
        async with make_gateway(Mind(LONG_ANSWER), lead_seconds=lead_seconds) as gateway:
            caller = await gateway.call()
            await caller.say(question)
            asked = time.monotonic()
            await caller.bot_speaks()
            began = time.monotonic()
            await caller.turn(1)
            ended = time.monotonic()
            sound_seconds = len(caller.audio) / 2 / SPOKEN_RATE
            if lead_seconds > sound_seconds:
                assert ended - began < sound_seconds
            else:
                assert ended - asked >= sound_seconds - lead_seconds - PIECE_SECONDS
