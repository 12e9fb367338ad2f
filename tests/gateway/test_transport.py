"""The sound of a reply as a caller gets it."""

from __future__ import annotations

import time

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from tests.gateway.conftest import MakeGateway, Mind, RunningGateway, Speak

PIECE_SECONDS = 0.04  # as Pipecat cuts the sound
QUESTION = "What is the capital of France?"
SENTENCE = "This answer goes on for some time. "


async def answered(house: RunningGateway, question: bytes) -> tuple[float, float]:
    """Seconds from the end of the question until the turn was over, and of sound that came."""
    caller = await house.call()
    await caller.say(question)
    asked = time.monotonic()
    await caller.turn(1)
    return time.monotonic() - asked, len(caller.audio) / 2 / OUTPUT_SAMPLE_RATE


async def test_a_reply_is_sent_no_further_ahead_than_the_lead(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(Mind(SENTENCE * 4), lead_seconds=0.2) as gateway:
        took, sound = await answered(gateway, speak(QUESTION))
    assert took >= sound - 0.2 - PIECE_SECONDS


async def test_with_a_lead_as_long_as_the_reply_nothing_waits_for_its_playing(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(Mind(SENTENCE * 40), lead_seconds=600.0) as gateway:
        took, sound = await answered(gateway, speak(QUESTION))
    assert sound > 40  # so that no busy machine takes as long
    assert took < sound
