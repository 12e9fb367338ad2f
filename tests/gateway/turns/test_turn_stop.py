"""Ends of turns and echoes through the real gateway, with instant engines."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np
import pytest
import soxr

from tests.fakes import InstantTTSEngine, InstantTTSSession
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway

REPLY = "The river that flows through the city of Paris is called the Seine, as you may know."


async def test_muted_microphone_ends_the_turn_like_a_silent_one(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    only_silence = {"turn": {"stop_timeout_seconds": 60.0}}  # as long as the test waits
    async with make_gateway(ScriptedLLM("Paris."), sections=only_silence) as gateway:
        client = await gateway.connect()
        await client.say(speak("What is the capital of France?").rstrip(b"\0"))
        client.mute()
        turn = await client.turn(1)
    assert (turn["outcome"], turn["ended_by"] == "timeout") == ("answered", False)


async def test_turn_goes_on_after_the_microphone_was_muted(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("Paris.", "Berlin.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.say(speak("What is the capital of France?"))
        client.mute()
        await client.turn(1)
        client.unmute()
        await client.say(speak("And what is the capital of Germany?"))
        assert (await client.turn(2))["outcome"] == "answered"


@pytest.mark.parametrize("ignored", [True, False])
async def test_bot_does_not_interrupt_itself_over_a_loudspeaker(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    class SpeakingVoice(InstantTTSSession):
        """Speaks with espeak-ng in place of a tone, so that the VAD hears a voice."""

        async def speak(
            self, text: str, voice: str, speed: float, urgent: bool
        ) -> AsyncGenerator[bytes, None]:
            samples = np.frombuffer(speak(text), dtype="<i2").astype(np.float32) / 32768
            yield (soxr.resample(samples, 16_000, 24_000) * 32767).astype("<i2").tobytes()

    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: SpeakingVoice(engine))
    settings = {"turn": {"ignore_echo": ignored}}
    async with make_gateway(ScriptedLLM(REPLY), sections=settings) as gateway:
        client = await gateway.connect()
        client.play_into_microphone(gain=0.5)
        await client.type("Which river flows through Paris?")
        turn = await client.turn(1)
    assert turn["interrupted"] is not ignored
